// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What nodes leave for others to read: who serves what (convenience, never safety).

public import Primitives

/// `nodes/<node>/<~n>`: the volumes that a node serves for writing. A node deletes its older beats,
/// and all of them when it serves nothing.
public struct NodeBeat: Document {
    public static let kind = "beat"
    /// Room for tens of thousands of volumes.
    public static let bytesMax = 4 << 20
    static let addressBytesMax = 256

    public let node: RefName
    public let number: UInt64
    /// How people reach the node's API, or empty.
    public let address: String
    /// Wall-clock seconds at which the beat was written.
    public let labelSeconds: UInt64
    public let volumes: [VolumeID]

    public init(
        node: RefName, number: UInt64, address: String, labelSeconds: UInt64, volumes: [VolumeID]
    ) {
        self.node = node
        self.number = number
        self.address = address
        self.labelSeconds = labelSeconds
        self.volumes = volumes
    }

    public init(reading reader: inout MemberReader) throws(DocumentError) {
        node = try reader.name("node")
        number = try reader.seriesNumber("n")
        address = try reader.text("address", limit: Self.addressBytesMax)
        labelSeconds = try reader.number("label")
        var volumes: [VolumeID] = []
        for element in try reader.array("volumes") {
            guard case .string(let text) = element, let id = VolumeID(hexadecimal: text) else {
                throw reader.badValue("volumes")
            }
            volumes.append(id)
        }
        self.volumes = volumes
    }

    public var members: [String: JSONValue] {
        [
            "node": .string(node.text), "n": .number(number), "address": .string(address),
            "label": .number(labelSeconds), "volumes": .array(volumes.map(JSONValue.identifier)),
        ]
    }
}
