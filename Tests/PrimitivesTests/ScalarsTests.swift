// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The domain's integers, the limits they keep to, and the error a person reads.

import Primitives
import Testing

@Suite("scalars, limits and user errors")
struct ScalarsTests {
    @Test("a scalar counts up, compares and prints as its number")
    func scalars() {
        let block = BlockIndex(41)
        #expect(block.next == BlockIndex(rawValue: 42))
        #expect(block.advanced(by: 9).rawValue == 50)
        #expect(block < block.next)
        #expect("\(block)" == "41")
        #expect(CommitSequence.none == CommitSequence(0))
        #expect(Epoch(7).next == Epoch(rawValue: 8))
        #expect(Epoch(7) < Epoch(8))
        #expect("\(Epoch(7))" == "7")
    }

    @Test("a scalar that would wrap traps instead")
    func overflow() async {
        await #expect(processExitsWith: .failure) {
            _ = ByteOffset(UInt64.max).next
        }
    }

    @Test("the limits do not contradict one another")
    func limits() {
        Limits.check()
        #expect(Limits.blockBytesDefault.nonzeroBitCount == 1)
        #expect(Limits.blockBytesMin.nonzeroBitCount == 1)
        #expect(Limits.blockBytesMax.nonzeroBitCount == 1)
        #expect(Limits.blockBytesMin <= Limits.blockBytesDefault)
        #expect(Limits.blockBytesDefault <= Limits.blockBytesMax)
        #expect(UInt64(Limits.blockBytesDefault) * Limits.volumeBlocksMax >= Limits.volumeBytesMax)
        #expect(Limits.volumeBytesMax.isMultiple(of: UInt64(Limits.sectorBytes)))
    }

    @Test("a user error says what, why and what to do, in this order")
    func userError() {
        let error = UserError(
            .conflict, what: "cannot create export prod", why: "it exists with 20 GB",
            remedy: "choose another name")
        #expect(
            "\(error)" == "cannot create export prod : it exists with 20 GB : choose another name")
    }

    @Test("every failure kind has a code of its own in the API's spelling")
    func kinds() {
        let codes = UserError.Kind.allCases.map(\.rawValue)
        #expect(Set(codes).count == codes.count)
        for code in codes {
            #expect(code.allSatisfy { $0 == "_" || ("a"..."z").contains($0) })
        }
    }
}
