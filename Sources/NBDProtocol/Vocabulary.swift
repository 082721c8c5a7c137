// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The numbers of the NBD protocol that Martlet speaks; docs/formats/nbd.md says by which rules. All
// integers on the wire are big-endian.

public import BlockDevice

/// The numbers that open messages.
public enum NBDMagic {
    /// "NBDMAGIC": the server's first eight bytes.
    public static let hello: UInt64 = 0x4E42_444D_4147_4943
    /// "IHAVEOPT": after it in the greeting, and before each option.
    public static let option: UInt64 = 0x4948_4156_454F_5054
    public static let optionReply: UInt64 = 0x0003_E889_0455_65A9
    public static let request: UInt32 = 0x2560_9513
    public static let simpleReply: UInt32 = 0x6744_6698
    public static let structuredReply: UInt32 = 0x668E_33EF
}

/// Handshake flags: the server's 16 bits and the client's 32 have the same meaning.
public struct HandshakeFlags: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let fixedNewstyle = HandshakeFlags(rawValue: 1)
    public static let noZeroes = HandshakeFlags(rawValue: 2)
}

/// What a client can ask for before the transmission phase.
public enum NBDOption: UInt32, Sendable {
    case exportName = 1
    case abort
    case list
    case peekExport
    case startTLS
    case info
    case go
    case structuredReply
    case listMetaContext
    case setMetaContext
    case extendedHeaders
}

/// How an option is answered.
public enum NBDOptionReply: UInt32, Sendable {
    case acknowledge = 1
    case server = 2
    case info = 3
    case metaContext = 4
    case unsupported = 0x8000_0001
    case policy = 0x8000_0002
    case invalid = 0x8000_0003
    case unknownExport = 0x8000_0006
    case shuttingDown = 0x8000_0007
    case tooBig = 0x8000_0009
}

/// What INFO and GO tell of an export.
public enum NBDInfo: UInt16, Sendable {
    case export = 0
    case name
    case description
    case blockSize
}

/// What an export can do, as announced when it is chosen.
public struct TransmissionFlags: OptionSet, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public static let hasFlags = TransmissionFlags(rawValue: 1 << 0)
    public static let readOnly = TransmissionFlags(rawValue: 1 << 1)
    public static let flush = TransmissionFlags(rawValue: 1 << 2)
    public static let fua = TransmissionFlags(rawValue: 1 << 3)
    public static let trim = TransmissionFlags(rawValue: 1 << 5)
    public static let writeZeroes = TransmissionFlags(rawValue: 1 << 6)
    public static let dontFragment = TransmissionFlags(rawValue: 1 << 7)
    public static let multiConn = TransmissionFlags(rawValue: 1 << 8)
    public static let cache = TransmissionFlags(rawValue: 1 << 10)
    public static let fastZero = TransmissionFlags(rawValue: 1 << 11)

    /// The flags of a device. DF may be announced only after structured replies were negotiated.
    public init(geometry: DeviceGeometry, structured: Bool) {
        self = [.hasFlags, .flush, .multiConn, .cache]
        if structured { insert(.dontFragment) }
        if geometry.isReadOnly {
            insert(.readOnly)
        } else {
            formUnion([.fua, .trim, .writeZeroes, .fastZero])
        }
    }
}

/// What a request asks for.
public enum NBDCommand: UInt16, Sendable {
    case read = 0
    case write
    case disconnect
    case flush
    case trim
    case cache
    case writeZeroes
    case blockStatus
}

/// Flags of a request.
public struct CommandFlags: OptionSet, Sendable, BitwiseCopyable {
    public let rawValue: UInt16
    @inline(__always)
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public static let fua = CommandFlags(rawValue: 1 << 0)
    public static let noHole = CommandFlags(rawValue: 1 << 1)
    public static let dontFragment = CommandFlags(rawValue: 1 << 2)
    public static let requestOne = CommandFlags(rawValue: 1 << 3)
    public static let fastZero = CommandFlags(rawValue: 1 << 4)

    /// What may be set on a command. FUA is legal everywhere, also where it means nothing; DF only
    /// if structured replies were negotiated.
    @inline(__always)
    public static func allowed(on command: NBDCommand, structured: Bool) -> CommandFlags {
        switch command {
        case .read: structured ? [.fua, .dontFragment] : .fua
        case .writeZeroes: [.fua, .noHole, .fastZero]
        case .blockStatus: [.fua, .requestOne]
        case .write, .disconnect, .flush, .trim, .cache: .fua
        }
    }
}

/// Error numbers of replies.
public enum NBDError: UInt32, Sendable {
    case notPermitted = 1
    case io = 5
    case noMemory = 12
    case invalid = 22
    case noSpace = 28
    case overflow = 75
    case notSupported = 95
    case shuttingDown = 108

    /// The protocol's number for a device's failure. A range beyond the end is no space for what
    /// would store there, and an invalid argument for everything else.
    public init(_ error: BlockError, command: NBDCommand) {
        self =
            switch error {
            case .outOfRange: command == .write || command == .writeZeroes ? .noSpace : .invalid
            case .failed: .io
            case .readOnly: .notPermitted
            case .noSpace: .noSpace
            case .notSupported: .notSupported
            case .shuttingDown: .shuttingDown
            }
    }
}

/// Kinds of structured reply chunks.
public enum NBDChunk: UInt16, Sendable {
    case none = 0
    case offsetData = 1
    case offsetHole = 2
    case blockStatus = 5
    case error = 0x8001
    case errorOffset = 0x8002
}

/// The metadata contexts that Martlet serves.
public enum MetaContext {
    public static let allocation = "base:allocation"
    /// The number that stands for it in replies: chosen by the server, not zero.
    public static let allocationID: UInt32 = 1
    /// Status bits of an extent: no storage behind it, and it reads as zeros.
    public static func allocationFlags(_ kind: Extent.Kind) -> UInt32 { kind == .hole ? 3 : 0 }

    /// What changed since a snapshot, whose name follows; as QEMU calls its bitmaps.
    public static let bitmapPrefix = "qemu:dirty-bitmap:"
    /// Bitmaps of one client.
    public static let bitmapsMax = 8
    /// The number that stands for a client's nth bitmap.
    public static func bitmapID(_ index: Int) -> UInt32 { allocationID + 1 + UInt32(index) }
    /// Status bits of an extent: it changed.
    public static func bitmapFlags(isChanged: Bool) -> UInt32 { isChanged ? 1 : 0 }
}
