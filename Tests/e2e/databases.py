# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Databases on ext4 on a volume whose daemon is killed under load: what they confirmed is there, or a
# clean prefix of it. `ledgers.py` says how that is judged.

import ledgers
from harness import Daemon, main, test


@test("PostgreSQL killed under load has every confirmed id with the cache, a clean prefix without")
def postgresql():
    return ledgers.postgresql_rounds(Daemon(environment=ledgers.SETTINGS).start())


@test("SQLite, with its log and with its rollback journal, has every confirmed id, or a prefix")
def sqlite():
    return ledgers.sqlite_rounds(Daemon(environment=ledgers.SETTINGS).start())


if __name__ == "__main__":
    main()
