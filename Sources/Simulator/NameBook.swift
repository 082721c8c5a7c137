// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What was promised about names: what a reply said and nobody has asked to undo since. A request
// whose reply never came promises nothing.

import ControlPlane
import Documents
import Formats
import Primitives

struct NameBook {
    struct Snapshot: Equatable {
        let name: String
        let commit: CommitPointer
    }

    struct Tag {
        /// In its series; a higher one is another's, or one whose reply was lost.
        let number: UInt64
        let commit: CommitPointer
    }

    /// A view of a commit that a host serves.
    struct View {
        let machine: Int
        let served: ServedVolume
        let commit: CommitPointer
    }

    /// A volume as it was stored again whole.
    struct FreshCopy {
        /// Bytes that it may take, and the packs that it names.
        let allowed: Int
        let packs: PageList
    }

    /// When something was found out: so many promises were made or taken back, and so many objects
    /// created.
    struct Moment: Equatable {
        let promises: Int
        let creations: UInt64
    }

    /// In the order in which they were made.
    var snapshots: [Snapshot] = [] { didSet { changes += 1 } }
    var tags: [String: Tag] = [:] { didSet { changes += 1 } }
    var views: [View] = [] { didSet { changes += 1 } }
    /// Of the three.
    private(set) var changes = 0
    /// What was asked for and is not known to be there: only the same request finishes it.
    var unfinished: [String: PutRequest] = [:]
    /// The newest key of each export's series that was looked at.
    var newest: [String: String] = [:]
    /// How often somebody asked to undo something, and who has no answer yet.
    var removals = 0
    var removalsUnderWay = 0
    /// Packs and commits that collectors deleted.
    var deletions = 0
    /// What each commit needs, as a fresh reader found out.
    var needs: [Token: Set<String>] = [:]
    /// Volumes that were stored again at the end, where that is looked at.
    var fresh: [VolumeID: FreshCopy] = [:]
    /// Who needs which object.
    var needed: (moment: Moment, holders: [String: String])?
    /// When all that had landed was taken in.
    var followed: UInt64?
    var learned: UInt64?

    mutating func promise(_ snapshot: Snapshot) {
        if !snapshots.contains(snapshot) { snapshots.append(snapshot) }
    }

    mutating func withdraw(where isGone: (Snapshot) -> Bool) {
        removals += 1
        snapshots.removeAll(where: isGone)
    }
}
