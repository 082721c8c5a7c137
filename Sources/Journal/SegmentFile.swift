// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// One open segment of a journal: a file of fixed size that was written whole before its first use.
// Its name came by a rename out of the pool; until both directories of the rename are synced a
// crash may undo it, so the segment does not count as synced before.

public import HostIO
import Primitives
import Synchronization

/// An open segment, shared by the journal that writes it, the syncs and the committer.
public final class SegmentFile<Storage: StorageDirectory>: Sendable {
    public let file: Storage.File
    /// The number in the name `NNNNNNNN.seg`, increasing in its directory.
    public let number: UInt64
    /// The seed of all checksums of this use of the segment.
    public let nonce: UInt64
    public let pages: Int
    /// The journal directory of the volume.
    public let directory: Storage
    let poolDirectory: Storage
    /// Set once both directories are synced. Release/acquire: orders the syncs before their use.
    private let nameIsDurableFlag: Atomic<Bool>
    /// Where the file is mapped; nil if it was not taken for appending.
    nonisolated(unsafe) let mapping: UnsafeRawBufferPointer?

    init(
        file: Storage.File, number: UInt64, nonce: UInt64, pages: Int, directory: Storage,
        poolDirectory: Storage, nameIsDurable: Bool, mapping: UnsafeRawBufferPointer?
    ) {
        self.file = file
        self.number = number
        self.nonce = nonce
        self.pages = pages
        self.directory = directory
        self.poolDirectory = poolDirectory
        nameIsDurableFlag = Atomic(nameIsDurable)
        self.mapping = mapping
    }

    public var name: String { SegmentName.text(of: number) }
    public var byteCount: UInt64 { UInt64(pages * Limits.grainBytes) }
    var nameIsDurable: Bool { nameIsDurableFlag.load(ordering: .acquiring) }

    func markNameDurable() { nameIsDurableFlag.store(true, ordering: .releasing) }

    /// Asks the kernel to write a range to disk; for a worker.
    public func startWriteback(at offset: UInt64, count: UInt64) {
        file.startWriteback(at: offset, count: count)
    }
}

/// `NNNNNNNN.seg`: at least eight decimal digits.
enum SegmentName {
    static func text(of number: UInt64) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 8 - digits.count)) + digits + ".seg"
    }

    static func number(of name: String) -> UInt64? {
        guard name.hasSuffix(".seg"), name.utf8.count >= 12 else { return nil }
        let digits = name.dropLast(4)
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let number = UInt64(digits), text(of: number) == name
        else { return nil }
        return number
    }
}
