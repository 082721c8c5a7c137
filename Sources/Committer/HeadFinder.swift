// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Finding the head of a volume's history: the first key of one listing (keys sort newest first),
// then probes of the next numbers until one is free, because a listing may be older than the last
// PUT of another host. Never lists more than one key.

internal import Formats
public import ObjectStore
public import Primitives

/// Reads commits of any volume from the store. Stateless; calls block.
public struct HeadFinder<Store: ObjectStore>: Sendable {
    private let store: Store

    public init(store: Store) { self.store = store }

    /// The head with its exact bytes, or nil if the volume has no commit. Fails with
    /// `damagedObject` naming the key if the head does not decode: an older commit is never served
    /// in its place.
    public func head(of volume: VolumeID) throws(CommitError) -> LocalRoot? {
        var missing = CommitSequence.none
        while let sequence = try headSequence(of: volume) {
            do throws(CommitError) { return try commit(of: volume, sequence) } catch {
                // One that was overtaken and collected between the two requests is no head.
                guard case .store(.notFound) = error, sequence > missing else { throw error }
                missing = sequence
            }
        }
        return nil
    }

    /// The number of the head alone.
    public func headSequence(of volume: VolumeID) throws(CommitError) -> CommitSequence? {
        do throws(ObjectStoreError) {
            let page = try store.list(prefix: CommitKey.prefix(of: volume), after: nil, limit: 1)
            guard let first = page.entries.first else { return nil }
            var sequence: CommitSequence
            do throws(FormatError) { sequence = try CommitKey(key: first.key).sequence } catch {
                throw ObjectStoreError.damaged(key: first.key, detail: "\(error)")
            }
            while try store.head(CommitKey.key(volume, sequence.next)) != nil {
                sequence = sequence.next
            }
            return sequence
        } catch { throw .store(error) }
    }

    /// One commit by its number. Fails with `store(.notFound)` if it is not there.
    public func commit(
        of volume: VolumeID, _ sequence: CommitSequence
    ) throws(CommitError) -> LocalRoot {
        let key = CommitKey.key(volume, sequence)
        let bytes: [UInt8]
        do throws(ObjectStoreError) {
            bytes = try store.get(key, limit: CommitLimits.commitBytesMax)
        } catch { throw .store(error) }
        let commit: Commit
        // A commit names its place, so that a copy under another key is found out.
        do throws(FormatError) {
            commit = try decodeCommit(bytes, key: CommitKey(volume: volume, sequence: sequence))
        } catch { throw .damagedObject(key: key, error) }
        return LocalRoot(commit: commit, bytes: bytes)
    }
}
