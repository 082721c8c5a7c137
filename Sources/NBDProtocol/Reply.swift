// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Replies, written straight into the buffer that is sent. No function here allocates; each answers
// the bytes it wrote, and its caller has made sure that they fit (the `…Bytes` constants).
//
//   simple:      magic u32 · error u32 · cookie u64 · (data of a successful READ)
//   structured:  magic u32 · flags u16 · type u16 · cookie u64 · length u32 · (length bytes)
//
// Once structured replies are negotiated READ and BLOCK_STATUS are answered by chunks, errors
// included; every other command keeps the simple reply, as the protocol allows. Each of ours is one
// chunk, so that DF is honoured by never fragmenting; BLOCK_STATUS has one for each context.

public import BlockDevice
import Primitives

/// Writers of replies.
public enum Reply {
    public static let simpleBytes = 16
    public static let chunkBytes = 20
    /// The chunk header and the offset before the data of a READ.
    public static let dataBytes = chunkBytes + 8
    /// The most that any error or data-less reply takes.
    public static let smallBytesMax = chunkBytes + 14
    /// The most that a success without data, or an error without its place, takes.
    public static let shortBytesMax = chunkBytes + 6
    /// Bytes of a block-status reply before its descriptors, and of each of these.
    public static let statusBytes = chunkBytes + 4
    public static let descriptorBytes = 8

    private static let done: UInt16 = 1

    @inline(__always)
    public static func simple(
        into bytes: UnsafeMutableRawPointer, cookie: UInt64, error: UInt32 = 0
    ) -> Int {
        store32(NBDMagic.simpleReply, bytes, 0)
        store32(error, bytes, 4)
        store64(cookie, bytes, 8)
        return simpleBytes
    }

    @inline(__always)
    private static func chunk(
        into bytes: UnsafeMutableRawPointer, _ kind: NBDChunk, cookie: UInt64, length: UInt32,
        isLast: Bool = true
    ) {
        store32(NBDMagic.structuredReply, bytes, 0)
        store16(isLast ? done : 0, bytes, 4)
        store16(kind.rawValue, bytes, 6)
        store64(cookie, bytes, 8)
        store32(length, bytes, 16)
    }

    /// A chunk without content: success with nothing to tell.
    public static func none(into bytes: UnsafeMutableRawPointer, cookie: UInt64) -> Int {
        chunk(into: bytes, .none, cookie: cookie, length: 0)
        return chunkBytes
    }

    /// What stands before the data of a READ; `count` bytes of data follow it.
    @inline(__always)
    public static func data(
        into bytes: UnsafeMutableRawPointer, cookie: UInt64, offset: UInt64, count: Int
    ) -> Int {
        precondition(count > 0 && count <= Int(UInt32.max) - 8)
        chunk(into: bytes, .offsetData, cookie: cookie, length: UInt32(count &+ 8))
        store64(offset, bytes, chunkBytes)
        return dataBytes
    }

    /// A range of zeros, told without its bytes.
    public static func hole(
        into bytes: UnsafeMutableRawPointer, cookie: UInt64, offset: UInt64, count: UInt32
    ) -> Int {
        precondition(count > 0)
        chunk(into: bytes, .offsetHole, cookie: cookie, length: 12)
        store64(offset, bytes, chunkBytes)
        store32(count, bytes, chunkBytes + 8)
        return chunkBytes + 12
    }

    /// An error without words.
    public static func error(
        into bytes: UnsafeMutableRawPointer, cookie: UInt64, _ error: NBDError
    ) -> Int {
        chunk(into: bytes, .error, cookie: cookie, length: 6)
        store32(error.rawValue, bytes, chunkBytes)
        store16(0, bytes, chunkBytes + 4)
        return chunkBytes + 6
    }

    /// An error with the place that failed.
    public static func error(
        into bytes: UnsafeMutableRawPointer, cookie: UInt64, _ error: NBDError, at offset: UInt64
    ) -> Int {
        chunk(into: bytes, .errorOffset, cookie: cookie, length: 14)
        store32(error.rawValue, bytes, chunkBytes)
        store16(0, bytes, chunkBytes + 4)
        store64(offset, bytes, chunkBytes + 6)
        return chunkBytes + 14
    }

    /// The extents of `base:allocation`. They cover at most what was asked; there is at least one.
    public static func blockStatus(
        into bytes: UnsafeMutableRawPointer, cookie: UInt64, extents: [Extent], isLast: Bool = true
    ) -> Int {
        precondition(!extents.isEmpty)
        var place = statusBytes
        for extent in extents {
            store32(UInt32(extent.length.rawValue), bytes, place)
            store32(MetaContext.allocationFlags(extent.kind), bytes, place + 4)
            place += descriptorBytes
        }
        let length = UInt32(place - chunkBytes)
        chunk(into: bytes, .blockStatus, cookie: cookie, length: length, isLast: isLast)
        store32(MetaContext.allocationID, bytes, chunkBytes)
        return place
    }

    /// The runs of a client's nth bitmap, at most `limit`. The range lies inside the device.
    public static func changes(
        into bytes: UnsafeMutableRawPointer, cookie: UInt64, _ map: ChangeMap, index: Int,
        offset: UInt64, count: UInt32, limit: Int, isLast: Bool
    ) -> Int {
        var place = statusBytes
        map.forEachRun(at: offset, count: UInt64(count), limit: limit) { length, isChanged in
            store32(UInt32(length), bytes, place)
            store32(MetaContext.bitmapFlags(isChanged: isChanged), bytes, place + 4)
            place += descriptorBytes
        }
        let length = UInt32(place - chunkBytes)
        chunk(into: bytes, .blockStatus, cookie: cookie, length: length, isLast: isLast)
        store32(MetaContext.bitmapID(index), bytes, chunkBytes)
        return place
    }
}
