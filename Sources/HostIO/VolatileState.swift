// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The state behind a `VolatileDisk`'s lock: the tree, the log of name changes that are not durable
// yet, armed faults and counters. All rules of what a crash keeps are here and in
// `VolatileContent`.

import Glibc
import Primitives

struct VolatileState: Sendable {
    enum Power { case running, cut, off }

    struct Fault: Sendable {
        let kind: VolatileDisk.Kind
        let ending: String
        let verdict: VolatileDisk.Verdict
        var skipping: Int
        var times: Int
    }

    /// One name of one directory set or removed.
    struct NameChange: Sendable {
        let directory: VolatileEntries
        let name: String
        let node: VolatileNode?
    }

    var power = Power.running
    var generation = 1
    var capacityBytes: UInt64
    private(set) var usedBytes: UInt64 = 0
    private let names: VolatileDisk.NameRule
    var random: SplitMix64
    /// Nil on a disk whose file system tells nothing of extents and holes.
    let addresses: VolatileAddresses?

    let root: VolatileEntries
    private var nextIdentity: UInt64 = 3
    /// Operations on names that no directory sync has made durable, oldest first.
    private var nameLog: [[NameChange]] = []

    var cutAt: Int?
    var faults: [Fault] = []
    var failuresAt: [Int: Int32] = [:]
    var hook: (@Sendable (VolatileDisk.Operation) -> VolatileDisk.Verdict)?

    private(set) var number = 0
    var fingerprint: UInt64 = 0
    var counts: [VolatileDisk.Kind: Int] = [:]
    var isRecording = false
    var trace: [VolatileDisk.Operation] = []

    init(
        seed: UInt64, capacityBytes: UInt64, names: VolatileDisk.NameRule, hasExtents: Bool
    ) {
        self.capacityBytes = capacityBytes
        self.names = names
        addresses = hasExtents ? VolatileAddresses() : nil
        random = SplitMix64(seed: seed)
        root = VolatileEntries(identity: 2)
    }

    /// What running programs see of `other`, all of it durable, on a disk of its own. `place`: the
    /// number of its root directory, if not the same.
    init(copying other: VolatileState, seed: UInt64, place: UInt64?) {
        precondition(other.addresses == nil, "a disk that tells of extents is not copied")
        capacityBytes = 1 << 50
        names = other.names
        addresses = nil
        random = SplitMix64(seed: seed)
        nextIdentity = other.nextIdentity
        var files: [ObjectIdentifier: VolatileContent] = [:]
        root = other.root.copy(identity: place ?? other.root.identity, &files)
        recount()
    }

    // MARK: Calls

    /// Counts a call and decides its fate.
    mutating func begin(
        _ kind: VolatileDisk.Kind, path: String, offset: UInt64, count: UInt64
    ) -> VolatileDisk.Verdict {
        counts[kind, default: 0] += 1
        if kind.isNumbered { number += 1 }
        fingerprint = Fingerprint.of(kind.rawValue, after: fingerprint ^ offset)
        fingerprint = Fingerprint.of(path, after: fingerprint ^ count)
        if isRecording || hook != nil {
            let operation = VolatileDisk.Operation(
                kind: kind, path: path, number: number, offset: offset, count: count)
            if isRecording { trace.append(operation) }
            if let verdict = hook?(operation), verdict != .proceed { return verdict }
        }
        if kind.isNumbered {
            if cutAt == number { return .cut }
            if let code = failuresAt.removeValue(forKey: number) { return .fail(code) }
        }
        for index in faults.indices
        where faults[index].kind == kind && path.hasSuffix(faults[index].ending) {
            if faults[index].skipping > 0 {
                faults[index].skipping -= 1
                continue
            }
            let verdict = faults[index].verdict
            faults[index].times -= 1
            if faults[index].times == 0 { faults.remove(at: index) }
            return verdict
        }
        return .proceed
    }

    /// Charges a file's growth to the disk. False if it does not fit.
    mutating func charge(_ content: VolatileContent, newSize: Int) -> Bool {
        let before = content.spaceBytes
        let after = VolatileContent.space(newSize)
        if after > before && usedBytes + (after - before) > capacityBytes { return false }
        usedBytes = usedBytes - before + after
        return true
    }

    /// The largest size a file can reach.
    func sizeLimit(of content: VolatileContent) -> UInt64 {
        let free = capacityBytes > usedBytes ? capacityBytes - usedBytes : 0
        return content.spaceBytes + free / 4096 * 4096
    }

    mutating func opened(_ content: VolatileContent) { content.handles += 1 }

    mutating func closed(_ content: VolatileContent, holdsLock: Bool) {
        content.handles -= 1
        if holdsLock { content.isLocked = false }
        if !content.isAlive { usedBytes -= content.spaceBytes }
    }

    // MARK: Names

    mutating func makeDirectory() -> VolatileEntries {
        defer { nextIdentity += 1 }
        return VolatileEntries(identity: nextIdentity)
    }

    /// Applies one operation on names and logs it until a sync.
    mutating func change(_ changes: [NameChange]) {
        for change in changes {
            let old = change.directory.current[change.name]
            if case .file(let content)? = change.node { content.links += 1 }
            change.directory.current[change.name] = change.node
            switch old {
            case .file(let content)?:
                content.links -= 1
                if !content.isAlive { usedBytes -= content.spaceBytes }
            case .directory(let entries)? where change.node == nil:
                // A move sets the new name as well; a removal leaves no way in.
                entries.isRemoved = changes.count == 1
            default: break
            }
        }
        nameLog.append(changes)
    }

    mutating func syncNames(of directory: VolatileEntries) {
        switch names {
        case .independent:
            for index in nameLog.indices {
                nameLog[index].removeAll { change in
                    guard change.directory === directory else { return false }
                    directory.durable[change.name] = change.node
                    return true
                }
            }
            nameLog.removeAll { $0.isEmpty }
        case .journaled:
            let last = nameLog.lastIndex { $0.contains { $0.directory === directory } }
            guard let last else { return }
            for changes in nameLog[...last] { Self.makeDurable(changes) }
            nameLog.removeFirst(last + 1)
        }
    }

    private static func makeDurable(_ changes: some Sequence<NameChange>) {
        for change in changes { change.directory.durable[change.name] = change.node }
    }

    // MARK: Crashes

    mutating func crash(keeping: VolatileDisk.Keeping) {
        precondition(power != .off, "the disk is off already")
        var chance: SplitMix64?
        switch keeping {
        case .all: nameLog.forEach { Self.makeDurable($0) }
        case .none: break
        case .random(let seed):
            var random = SplitMix64(seed: seed)
            keepNames(random: &random)
            chance = random
        }
        nameLog = []
        usedBytes = 0
        restoreNames(of: root)
        forEachFile { content in
            if chance != nil {
                // Each file draws from a stream of its own, so that one more draw in a file does
                // not change all that follow.
                let seed = chance?.next() ?? 0
                content.settle(.random(SplitMix64(seed: seed)))
            } else if case .all = keeping {
                content.settle(.newest)
            } else {
                content.settle(.oldest)
            }
        }
        recount()
        power = .off
    }

    /// Chooses which unsynced changes of names survive.
    private mutating func keepNames(random: inout SplitMix64) {
        switch names {
        case .journaled:
            let kept = Int(random.next(below: UInt64(nameLog.count) + 1))
            for changes in nameLog[..<kept] { Self.makeDurable(changes) }
        case .independent:
            // Per name of a directory, the first so many of its changes, in the order of first
            // mention.
            struct Name: Hashable {
                let directory: ObjectIdentifier
                let name: String
            }
            var order: [Name] = []
            var changes: [Name: [NameChange]] = [:]
            for change in nameLog.joined() {
                let name = Name(directory: ObjectIdentifier(change.directory), name: change.name)
                if changes[name] == nil { order.append(name) }
                changes[name, default: []].append(change)
            }
            for name in order {
                let all = changes[name] ?? []
                let kept = Int(random.next(below: UInt64(all.count) + 1))
                Self.makeDurable(all[..<kept])
            }
        }
    }

    private func restoreNames(of directory: VolatileEntries) {
        directory.current = directory.durable
        directory.isRemoved = false
        for case .directory(let child) in directory.current.values { restoreNames(of: child) }
    }

    mutating func kill() {
        precondition(power != .off, "the disk is off already")
        recount()
        power = .off
    }

    mutating func reboot() {
        precondition(power == .off, "a reboot follows a crash or a kill")
        power = .running
        generation += 1
        cutAt = nil
        faults = []
        failuresAt = [:]
        hook = nil
    }

    /// Handles of before are dead: what is counted is what has a name.
    private mutating func recount() {
        usedBytes = 0
        forEachFile { content in
            content.links = 0
            content.handles = 0
            content.isLocked = false
        }
        countLinks(of: root)
        var used: UInt64 = 0
        forEachFile { used += $0.spaceBytes }
        usedBytes = used
    }

    private func countLinks(of directory: VolatileEntries) {
        for node in directory.current.values {
            switch node {
            case .file(let content): content.links += 1
            case .directory(let child): countLinks(of: child)
            }
        }
    }

    /// Visits every file that has a name once, in the order of paths.
    func forEachFile(_ body: (VolatileContent) -> Void) {
        var seen: Set<ObjectIdentifier> = []
        func visit(_ directory: VolatileEntries) {
            for name in directory.current.keys.sorted() {
                switch directory.current[name] {
                case .file(let content)?:
                    if seen.insert(ObjectIdentifier(content)).inserted { body(content) }
                case .directory(let child)?: visit(child)
                case nil: break
                }
            }
        }
        visit(root)
    }

    func unsyncedPaths() -> [String] {
        var paths: [String] = []
        func visit(_ directory: VolatileEntries, _ path: String) {
            let hasLogged = nameLog.contains { $0.contains { $0.directory === directory } }
            if hasLogged { paths.append(path.isEmpty ? "/" : path) }
            for name in directory.current.keys.sorted() {
                switch directory.current[name] {
                case .file(let content)?:
                    if content.hasUnsynced { paths.append(path + "/" + name) }
                case .directory(let child)?: visit(child, path + "/" + name)
                case nil: break
                }
            }
        }
        visit(root, "")
        return paths
    }

    func node(at path: String) -> VolatileNode? {
        var node = VolatileNode.directory(root)
        for name in path.split(separator: "/") {
            guard case .directory(let entries) = node, let next = entries.current[String(name)]
            else { return nil }
            node = next
        }
        return node
    }
}
