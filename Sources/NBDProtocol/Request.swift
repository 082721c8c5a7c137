// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The request header: 28 bytes, big-endian.
//
//   offset size name     meaning
//        0    4 magic    0x25609513
//        4    2 flags    CommandFlags
//        6    2 type     NBDCommand
//        8    8 cookie   the client's, returned untouched
//       16    8 offset   bytes from the start of the export
//       24    4 length   bytes; a WRITE is followed by that many

/// A request as it came: nothing in it is trusted but its magic.
public struct RequestHeader: Sendable, BitwiseCopyable {
    public static let byteCount = 28

    public var flags: CommandFlags
    public var rawCommand: UInt16
    public var cookie: UInt64
    public var offset: UInt64
    public var length: UInt32

    /// Reads 28 bytes of any alignment. Nil if they do not start with the magic: the stream is
    /// lost.
    @inline(__always)
    public init?(_ bytes: UnsafeRawPointer) {
        guard load32(bytes, 0) == NBDMagic.request else { return nil }
        flags = CommandFlags(rawValue: load16(bytes, 4))
        rawCommand = load16(bytes, 6)
        cookie = load64(bytes, 8)
        offset = load64(bytes, 16)
        length = load32(bytes, 24)
    }

    public init(
        _ command: NBDCommand, flags: CommandFlags = [], cookie: UInt64, offset: UInt64 = 0,
        length: UInt32 = 0
    ) {
        self.flags = flags
        rawCommand = command.rawValue
        self.cookie = cookie
        self.offset = offset
        self.length = length
    }

    /// Writes 28 bytes: what a client sends.
    public func encode(into bytes: UnsafeMutableRawPointer) {
        store32(NBDMagic.request, bytes, 0)
        store16(flags.rawValue, bytes, 4)
        store16(rawCommand, bytes, 6)
        store64(cookie, bytes, 8)
        store64(offset, bytes, 16)
        store32(length, bytes, 24)
    }

    /// The command, or nil if it is none that we know.
    @inline(__always)
    public var command: NBDCommand? { NBDCommand(rawValue: rawCommand) }

    /// Bytes that follow the header, whatever else is wrong with the request.
    @inline(__always)
    public var payloadBytes: Int {
        rawCommand == NBDCommand.write.rawValue ? Int(length) : 0
    }
}

@inline(__always)
func load16(_ bytes: UnsafeRawPointer, _ offset: Int) -> UInt16 {
    UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self))
}

@inline(__always)
func load32(_ bytes: UnsafeRawPointer, _ offset: Int) -> UInt32 {
    UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
}

@inline(__always)
func load64(_ bytes: UnsafeRawPointer, _ offset: Int) -> UInt64 {
    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
}

@inline(__always)
func store16(_ value: UInt16, _ bytes: UnsafeMutableRawPointer, _ offset: Int) {
    bytes.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
}

@inline(__always)
func store32(_ value: UInt32, _ bytes: UnsafeMutableRawPointer, _ offset: Int) {
    bytes.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
}

@inline(__always)
func store64(_ value: UInt64, _ bytes: UnsafeMutableRawPointer, _ offset: Int) {
    bytes.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt64.self)
}
