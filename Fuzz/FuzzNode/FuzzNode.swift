// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Map nodes: what validates can be read everywhere, and encodes to itself.

import Formats
import FuzzSupport
import Primitives

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzNode(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    let bytes = fuzzInput(data, count)
    guard let node = try? MapNode(decoding: bytes) else { return 0 }
    require(node.encode().elementsEqual(bytes), "a node has one encoding")
    let view = MapNodeView(validated: bytes)
    var frames = 0
    for index in 0..<Limits.chunkBlocks {
        let stack = view.entry(at: index)
        require(stack.isEmpty == !view.contains(index), "presence agrees with the stack")
        frames += stack.count
        if !stack.isEmpty {
            require(
                stack.contentKey == node[index]?.contentKey(blockBytes: node.blockBytes),
                "view and decoded form name the same content")
        }
    }
    require(frames == view.frameCount, "the frame count is right")
    require(!node.digest().isZero, "a node has a digest")
    return 0
}
