// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Publishing a commit: one create-if-absent of its key, and what the answer means. The bytes come
// from `root/<seq>.pending` and are never made anew for a number that was tried, so that asking
// again, after a time-out or a restart, can only find the own commit or somebody else's.
//
//   PUT ─ created ───────────────────────────────▶ published
//       ─ exists ─ GET ─ the same token and bytes ▶ published     (an earlier try went through)
//                      ─ anything else ───────────▶ fenced
//                      ─ away ────────────────────▶ unresolved
//       ─ away ──────────────────────────────────▶ unresolved    (ask again with the same bytes)

public import Formats
public import ObjectStore
public import Primitives

/// Whose commit took the number that this writer wanted.
public struct FencedBy: Equatable, Sendable {
    public let sequence: CommitSequence
    public let epoch: Epoch
    public let token: Token
    public let state: CommitState
    public let isFence: Bool
    public let labelSeconds: UInt64

    public init(_ commit: Commit) {
        sequence = commit.sequence
        epoch = commit.epoch
        token = commit.token
        state = commit.state
        isFence = commit.isFence
        labelSeconds = commit.labelSeconds
    }
}

/// What became of one try to publish.
public enum PublishOutcome: Equatable, Sendable {
    /// The commit is in the store, durably.
    case published
    /// Another commit has the number. This writer must stop.
    case fenced(by: FencedBy)
    /// The store did not answer: the commit may be there. Try again with the same bytes.
    case unresolved(detail: String)
}

/// Publishes commits of any volume. Stateless; calls block.
public struct Publisher<Store: ObjectStore>: Sendable {
    private let store: Store

    public init(store: Store) { self.store = store }

    /// Step 4 of publishing. `root` is what `root/<seq>.pending` holds. Fails with `store` if the
    /// store refuses the request for good, with `damagedObject` if the key holds something
    /// unreadable.
    public func publish(_ root: LocalRoot) throws(CommitError) -> PublishOutcome {
        let key = CommitKey.key(root.commit.volume, root.commit.sequence)
        do throws(ObjectStoreError) {
            switch try store.putIfAbsent(key, root.bytes) {
            case .created: return .published
            case .exists: break
            }
        } catch {
            guard error.isRetryable else { throw .store(error) }
            return .unresolved(detail: "\(error)")
        }
        return try inspect(key, own: root)
    }

    private func inspect(_ key: String, own: LocalRoot) throws(CommitError) -> PublishOutcome {
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try store.get(key, limit: CommitLimits.commitBytesMax)
        } catch {
            switch error {
            case .away: return .unresolved(detail: "\(error)")
            // It was there a moment ago and fences are never deleted: the store contradicts itself.
            case .notFound: return .unresolved(detail: "\(key) exists but cannot be read")
            default: throw .store(error)
            }
        }
        if bytes == own.bytes { return .published }
        let other: Commit
        do throws(FormatError) { other = try decodeCommit(bytes, key: own.commit.key) } catch {
            throw .damagedObject(key: key, error)
        }
        return .fenced(by: FencedBy(other))
    }
}
