// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A disk in memory that forgets what was not synced: the twin of the kernel's files under the same
// seam. It fails, fills, rots and loses power on request, and does so the same way for the same
// seed and the same order of calls.
//
// Life cycle:   running ──crash(keeping:) / kill()──▶ off ──reboot()──▶ running (new handles)
//                  └──crashAt / hook──▶ cut ──crash(keeping:) / kill()──▶ off
// In `cut` and `off` every call throws ESHUTDOWN; handles from before a reboot throw it for ever.

import Glibc
import Primitives
import Synchronization

/// The disk. Thread-safe by one lock; deterministic if the order of calls is.
public final class VolatileDisk: Sendable {
    /// What a call does. Those that change the disk or make changes durable are numbered.
    public enum Kind: String, CaseIterable, Sendable {
        case open, create, makeDirectory, read, write, allocate, map, sync, directorySync
        case rename, link, remove, list, lock, stat

        public var isNumbered: Bool {
            switch self {
            case .create, .makeDirectory, .write, .allocate, .sync, .directorySync, .rename, .link,
                .remove, .lock:
                true
            case .open, .read, .map, .list, .stat: false
            }
        }
    }

    /// One call, as the trace and the hook see it.
    public struct Operation: Equatable, Sendable {
        public let kind: Kind
        public let path: String
        /// From 1, over numbered kinds; for others, that of the last numbered one.
        public let number: Int
        public let offset: UInt64
        public let count: UInt64
    }

    /// What a hook wants done to a call.
    public enum Verdict: Equatable, Sendable {
        case proceed
        /// The call fails with this `errno` and changes nothing.
        case fail(Int32)
        /// Power goes, or the process dies, during the call.
        case cut
    }

    /// What a power cut keeps of unsynced sectors, sizes and names.
    public enum Keeping: Sendable {
        case all
        case none
        case random(seed: UInt64)
    }

    /// Which unsynced changes of names may survive without others.
    public enum NameRule: Sendable {
        /// As the letter of POSIX: each name of each directory on its own keeps any earlier state,
        /// so a rename may leave both names or none.
        case independent
        /// As a journaling file system: whole operations, and a prefix of them in order. A sync of
        /// a directory includes all earlier operations anywhere.
        case journaled
    }

    let state: Lock<VolatileState>

    /// With `hasExtents`, the file system knows holes and shares extents; otherwise none of it.
    public init(
        seed: UInt64 = 1, capacityBytes: UInt64 = 1 << 50, names: NameRule = .independent,
        hasExtents: Bool = false
    ) {
        state = Lock(
            VolatileState(
                seed: seed, capacityBytes: capacityBytes, names: names, hasExtents: hasExtents))
    }

    private init(_ state: VolatileState) { self.state = Lock(state) }

    /// A running disk of its own with what programs see of this one, all of it durable: what a
    /// backup tool put away, or what comes of it. `place` is what the root directory is told by
    /// (its inode); nil: the same as here.
    public func copy(seed: UInt64, place: UInt64? = nil) -> VolatileDisk {
        state.withLock {
            VolatileDisk(VolatileState(copying: $0, seed: seed, place: place))
        }
    }

    // MARK: Power

    /// The root directory, for the time until the next crash.
    public var root: VolatileDirectory {
        state.withLock { state in
            VolatileDirectory(
                disk: self, entries: state.root, generation: state.generation, path: "")
        }
    }

    /// Cuts the power: every unsynced sector and name is kept or not as told, all handles are dead.
    public func crash(keeping: Keeping) {
        state.withLock { $0.crash(keeping: keeping) }
    }

    /// Ends all handles and locks as the death of the process does: nothing written is lost.
    public func kill() {
        state.withLock { $0.kill() }
    }

    /// Starts again after `crash` or `kill`. Armed cuts and failures are disarmed.
    public func reboot() -> VolatileDirectory {
        // What the hook holds may be a file of this disk: let go of outside the lock.
        let hook = state.withLock { state in
            let hook = state.hook
            state.reboot()
            return hook
        }
        withExtendedLifetime(hook) {}
        return root
    }

    /// True from a cut or crash until the reboot.
    public var isOff: Bool { state.withLock { $0.power != .running } }

    // MARK: Faults

    /// Cuts during the numbered operation with this number (counted from the disk's making): a
    /// write leaves a random prefix of its pages, a change of names may have happened, a sync has
    /// not ended. Follow with `crash` or `kill`. Nil disarms.
    public func crashAt(_ number: Int?) {
        state.withLock { $0.cutAt = number }
    }

    /// Cuts, as `crashAt` does, during the next call of this kind on a path with this ending, after
    /// letting some pass. The way to name a point inside a protocol without counting operations.
    public func cutNext(_ kind: Kind, pathEnding: String = "", skipping: Int = 0) {
        state.withLock {
            $0.faults.append(
                VolatileState.Fault(
                    kind: kind, ending: pathEnding, verdict: .cut, skipping: skipping, times: 1))
        }
    }

    /// The next calls of this kind, on paths with this ending, fail with this `errno`. A failed
    /// file sync drops what was dirty, as Linux does.
    public func failNext(_ kind: Kind, code: Int32, pathEnding: String = "", times: Int = 1) {
        state.withLock {
            $0.faults.append(
                VolatileState.Fault(
                    kind: kind, ending: pathEnding, verdict: .fail(code), skipping: 0, times: times)
            )
        }
    }

    /// The numbered operation with this number fails with this `errno`.
    public func failAt(_ number: Int, code: Int32) {
        state.withLock { $0.failuresAt[number] = code }
    }

    /// Asks before every call. Runs under the disk's lock: it must not call the disk.
    public func onOperation(_ hook: (@Sendable (Operation) -> Verdict)?) {
        let old = state.withLock { state in
            let old = state.hook
            state.hook = hook
            return old
        }
        withExtendedLifetime(old) {}
    }

    public func setCapacity(bytes: UInt64) {
        state.withLock { $0.capacityBytes = bytes }
    }

    /// Inverts a byte of a file, in the cache and on disk.
    public func rot(_ path: String, at offset: UInt64) {
        state.withLock { state in
            guard case .file(let content)? = state.node(at: path) else {
                preconditionFailure("no file \(path)")
            }
            content.rot(at: Int(offset))
        }
    }

    /// Makes what a failed sync lost visible to readers, as memory pressure does.
    public func evictCleanPages() {
        state.withLock { state in
            state.forEachFile { $0.evictCleanPages() }
        }
    }

    // MARK: Observation

    /// Calls that are still to fail, as `failNext` has them.
    public var failuresLeft: Int { state.withLock { $0.faults.count } }

    /// Numbered operations so far.
    public var operationCount: Int { state.withLock { $0.number } }

    /// A hash over every call and every byte written, in order: equal for equal histories, in any
    /// process.
    public var fingerprint: UInt64 { state.withLock { $0.fingerprint } }

    public func count(of kind: Kind) -> Int { state.withLock { $0.counts[kind] ?? 0 } }

    public func resetCounts() { state.withLock { $0.counts = [:] } }

    /// Starts (emptying it) or stops the record of operations.
    public func record(_ isOn: Bool) {
        state.withLock {
            $0.isRecording = isOn
            if isOn { $0.trace = [] }
        }
    }

    public var trace: [Operation] { state.withLock { $0.trace } }

    /// Paths of files with bytes that a crash may lose, and of directories with such names.
    public var unsyncedPaths: [String] { state.withLock { $0.unsyncedPaths() } }

    /// The content of a file as running programs see it, also while the disk is off.
    public func bytes(_ path: String) -> [UInt8]? {
        state.withLock { state in
            guard case .file(let content)? = state.node(at: path) else { return nil }
            return content.bytes()
        }
    }
}
