// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Interrupts of a tool that has something to clear away before it ends. Of the whole process, so
// only a command line calls this.

import CLinux

public enum Interrupts {
    /// From here on the first SIGINT, SIGTERM or SIGHUP only sets `wasCaught`; the next one ends
    /// the process as ever.
    public static func catchFirst() { clinux_catch_first_interrupt() }

    public static var wasCaught: Bool { clinux_was_interrupted() != 0 }
}
