// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Named places between two steps that a crash must not come between unharmed. Tests arm one of them
// in the real, released daemon and kill it there; unarmed, a place costs one relaxed load. Never on
// the path of a single request.

private import Synchronization

/// The places. A test names them by raw value; docs/HACKING.md lists what lies on either side.
public enum Failpoint: String, CaseIterable, Sendable {
    case journalBeforeAppend = "journal.before-append"
    case journalAfterAppend = "journal.after-append"
    case commitAfterCut = "commit.after-cut"
    case commitAfterPack = "commit.after-pack"
    case commitBeforePending = "commit.before-pending"
    case commitAfterPending = "commit.after-pending"
    case commitAfterPut = "commit.after-put"
    case commitAfterPromote = "commit.after-promote"
    case segmentsBeforeRecycle = "segments.before-recycle"
    case recoveryBeforeSeal = "recovery.before-seal"
    case recoveryAfterSeal = "recovery.after-seal"

    private struct Plan {
        let place: Failpoint
        var passesLeft: Int
        let action: @Sendable () -> Void
    }

    private static let isArmed = Atomic<Bool>(false)
    private static let plan = Lock<Plan?>(nil)

    /// Runs `action` when `place` is passed for the `pass`th time from now on. One place at a time.
    public static func arm(
        _ place: Failpoint, pass: Int, action: @escaping @Sendable () -> Void
    ) {
        precondition(pass > 0)
        plan.withLock { $0 = Plan(place: place, passesLeft: pass, action: action) }
        // Pairs with the load in `hit`; a pass that does not see it yet is a pass before arming.
        isArmed.store(true, ordering: .relaxed)
    }

    public static func disarm() {
        isArmed.store(false, ordering: .relaxed)
        plan.withLock { $0 = nil }
    }

    /// Marks that the program is at this place.
    @inline(__always)
    public func hit() {
        guard Failpoint.isArmed.load(ordering: .relaxed) else { return }
        pass()
    }

    private func pass() {
        let action = Failpoint.plan.withLock { plan -> (@Sendable () -> Void)? in
            guard plan?.place == self else { return nil }
            plan?.passesLeft -= 1
            guard plan?.passesLeft == 0 else { return nil }
            return plan?.action
        }
        action?()
    }
}
