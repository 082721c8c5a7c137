# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# Databases on ext4 on a volume whose store is RGW, killed under load. `ledgers.py` says how they are
# judged.

import ledgers
import stores
from harness import main, test
from s3world import Place


def daemon():
    return Place(stores.shared("rgw")).daemon(environment=ledgers.SETTINGS).start()


@test("on RGW PostgreSQL has every confirmed id with the cache, and a clean prefix without")
def postgresql():
    return ledgers.postgresql_rounds(daemon())


@test("on RGW SQLite, with either journal, has every confirmed id, or a prefix")
def sqlite():
    return ledgers.sqlite_rounds(daemon())


if __name__ == "__main__":
    main()
