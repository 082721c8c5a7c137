// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The name of a pack, as a 48-byte field of other objects and as a key of the object store. A
// pack's name never changes and is never used twice: the token is random.
//
//     offset size type  name     meaning                              valid
//          0    4 u32   epoch    writer generation that made it       not 0
//          4    2 u16   number   which pack of its commit, from 0     any
//          6    2       reserve                                       0
//          8    8 u64   sequence the commit it was made for           not 0
//         16   16 id    volume   the volume it was made for           not 0
//         32   16 id    token    random, one for each pack            not 0

public import Primitives

public struct PackID: Hashable, Sendable, CustomStringConvertible {
    public var volume: VolumeID
    public var epoch: Epoch
    public var sequence: CommitSequence
    public var number: UInt16
    public var token: Token

    static let byteCount = 48
    static let keyPrefix = "packs/"
    static let keySuffix = ".pack"

    public init(
        volume: VolumeID, epoch: Epoch, sequence: CommitSequence, number: UInt16, token: Token
    ) {
        self.volume = volume
        self.epoch = epoch
        self.sequence = sequence
        self.number = number
        self.token = token
    }

    /// `packs/<volume-id>/<epoch:08x>-<seq:016x>-<n:04x>-<token>.pack`
    public var key: String {
        Self.keyPrefix(of: volume) + hexadecimal(UInt64(epoch.rawValue), digits: 8) + "-"
            + hexadecimal(sequence.rawValue, digits: 16) + "-"
            + hexadecimal(UInt64(number), digits: 4) + "-" + token.description + Self.keySuffix
    }

    /// What the keys of all packs made for `volume` start with.
    public static func keyPrefix(of volume: VolumeID) -> String {
        keyPrefix + volume.description + "/"
    }

    public var description: String { key }

    /// Parses exactly what `key` prints.
    public init(key: String) throws(FormatError) {
        guard let parsed = Self.parse(key), parsed.isValid, parsed.key == key else {
            throw .malformedKey(.packKey, key: key)
        }
        self = parsed
    }

    private var isValid: Bool {
        !volume.isZero && !token.isZero && epoch.rawValue != 0 && sequence.rawValue != 0
    }

    private static func parse(_ key: String) -> PackID? {
        guard key.utf8.count <= 256, key.hasPrefix(keyPrefix), key.hasSuffix(keySuffix) else {
            return nil
        }
        let folders = key.parts(between: "/")
        guard folders.count == 3, let volume = VolumeID(hexadecimal: folders[1]) else { return nil }
        let parts = folders[2].parts(between: ".")[0].parts(between: "-")
        guard parts.count == 4, let epoch = UInt32(parts[0], radix: 16),
            let sequence = UInt64(parts[1], radix: 16), let number = UInt16(parts[2], radix: 16),
            let token = Token(hexadecimal: parts[3])
        else { return nil }
        return PackID(
            volume: volume, epoch: Epoch(epoch), sequence: CommitSequence(sequence),
            number: number, token: token)
    }

    // MARK: Stored form

    func encode(into writer: inout ByteWriter) {
        precondition(isValid, "a pack id with a zero part")
        writer.append(epoch.rawValue)
        writer.append(number)
        writer.appendZeros(2)
        writer.append(sequence.rawValue)
        writer.append(volume)
        writer.append(token)
    }

    init(decoding reader: inout FieldReader) throws(FormatError) {
        epoch = Epoch(try reader.integer(in: 1...UInt32.max, field: "pack epoch"))
        number = try reader.integer()
        try reader.reserved(2)
        sequence = CommitSequence(
            try reader.integer(in: 1...UInt64.max, field: "pack sequence"))
        volume = try reader.present(field: "pack volume")
        token = try reader.present(field: "pack token")
    }
}

/// `value` in lower-case hexadecimal, padded with zeros.
func hexadecimal(_ value: UInt64, digits: Int) -> String {
    let needed = (UInt64.bitWidth - value.leadingZeroBitCount + 3) / 4
    let count = max(1, digits, needed)
    return String(unsafeUninitializedCapacity: count) { room in
        var rest = value
        for place in (0..<count).reversed() {
            let digit = UInt8(truncatingIfNeeded: rest & 15)
            room[place] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
            rest >>= 4
        }
        return count
    }
}
