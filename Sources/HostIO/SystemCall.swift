// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How this module calls the kernel: EINTR is repeated here and only here, and errnos that only a
// bug of ours can produce trap instead of travelling up as an error of the disk.

import Glibc

/// Repeats a call that was interrupted. Returns its value, negative with `errno` set if it failed.
@inline(__always)
func retryingInterrupts<Value: SignedInteger>(_ call: () -> Value) -> Value {
    while true {
        let value = call()
        if value < 0 && errno == EINTR { continue }
        return value
    }
}

/// The `errno` of the call that just failed. Traps on those that mean a bug: a closed descriptor, a
/// bad pointer.
func errnoOfFailedCall(_ what: @autoclosure () -> String) -> Int32 {
    let code = errno
    precondition(code != EBADF && code != EFAULT, "\(what()) was called with a bad argument")
    return code
}

extension HostIOError {
    /// From the `errno` of the call that just failed.
    static func fromErrno(_ operation: Operation, _ path: @autoclosure () -> String) -> HostIOError
    {
        let code = errnoOfFailedCall(operation.rawValue)
        return HostIOError(operation, path: path(), code: code)
    }
}
