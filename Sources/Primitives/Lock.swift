// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The one lock of the project. It is the toolchain's mutex, except under the thread sanitizer: that
// one cannot see into the toolchain's futex and would take every use of it for a race, so `make
// tsan` builds a twin on a mutex that it knows. See
// docs/decisions/0013-a-lock-that-the-sanitizer-knows.md.

#if MARTLET_TSAN
    import Glibc

    /// A value and the mutex that guards it; not re-entrant. The same as `Synchronization.Mutex`,
    /// on a mutex of the C library.
    public struct Lock<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
        // Confined: `value` to whoever holds `mutex`; both pointers are set once.
        private let mutex: UnsafeMutablePointer<pthread_mutex_t>
        private let value: UnsafeMutablePointer<Value>

        public init(_ initialValue: consuming sending Value) {
            mutex = .allocate(capacity: 1)
            mutex.initialize(to: pthread_mutex_t())
            let made = pthread_mutex_init(mutex, nil)
            precondition(made == 0, "a mutex can always be made")
            value = .allocate(capacity: 1)
            value.initialize(to: initialValue)
        }

        deinit {
            value.deinitialize(count: 1)
            value.deallocate()
            pthread_mutex_destroy(mutex)
            mutex.deallocate()
        }

        public borrowing func withLock<Result: ~Copyable, Failure: Error>(
            _ body: (inout sending Value) throws(Failure) -> sending Result
        ) throws(Failure) -> sending Result {
            pthread_mutex_lock(mutex)
            defer { pthread_mutex_unlock(mutex) }
            return try body(&value.pointee)
        }
    }
#else
    public import Synchronization

    /// A value and the mutex that guards it; not re-entrant.
    public typealias Lock<Value: ~Copyable> = Mutex<Value>
#endif
