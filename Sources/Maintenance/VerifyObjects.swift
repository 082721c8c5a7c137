// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Reading many small objects at once: refs and commits. What does not decode is asked for again,
// since an answer may have been harmed on its way.

import Formats
import ObjectStore
import Primitives
import Synchronization
import VolumeMap

/// What became of one object.
enum ReadObject<Value: Sendable>: Sendable {
    case value(Value)
    /// It was listed and is no longer there, or never was.
    case gone
    /// With the bytes of the last try.
    case bad(VerifyFault.Kind, String, [UInt8])
}

/// Why bytes were refused.
struct ObjectRefusal: Error {
    let kind: VerifyFault.Kind
    let detail: String
}

/// One call's objects. Any thread may read one.
final class ObjectReads<Store: ObjectStore, Value: Sendable>: Sendable {
    typealias Decode =
        @Sendable (_ key: String, _ bytes: [UInt8]) throws(ObjectRefusal) -> Value

    private struct State {
        var objects: [ReadObject<Value>]
        var bytes: UInt64 = 0
        var away: FetchError?
    }

    private let store: Store
    private let keys: [String]
    private let limit: Int
    private let decode: Decode
    private let state: Lock<State>

    init(store: Store, keys: [String], limit: Int, decode: @escaping Decode) {
        self.store = store
        self.keys = keys
        self.limit = limit
        self.decode = decode
        state = Lock(State(objects: Array(repeating: .gone, count: keys.count)))
    }

    /// All objects in the order of the keys, and their bytes together.
    func run(
        _ spread: FetchSpread
    ) throws(VerifyError) -> (objects: [ReadObject<Value>], bytes: UInt64) {
        spread(keys.count) { self.read($0) }
        let (objects, bytes, away) = state.withLock { ($0.objects, $0.bytes, $0.away) }
        if let away { throw VerifyError(away) }
        return (objects, bytes)
    }

    private func read(_ index: Int) {
        if state.withLock({ $0.away != nil }) { return }
        let key = keys[index]
        var found = ReadObject<Value>.gone
        for _ in 0..<FetchLimits.damagedTriesMax {
            let bytes: [UInt8]
            do throws(ObjectStoreError) { bytes = try store.get(key, limit: limit) } catch {
                switch FetchError(error) {
                case .missingObject: found = .gone
                case .damaged(_, let detail):
                    found = .bad(.damaged, detail, [])
                    continue
                case .refused(_, let detail): found = .bad(.damaged, detail, [])
                case .away(let key, let detail):
                    return state.withLock {
                        $0.away = $0.away ?? .away(key: key, detail: detail)
                    }
                }
                break
            }
            state.withLock { $0.bytes += UInt64(bytes.count) }
            do throws(ObjectRefusal) {
                found = .value(try decode(key, bytes))
                break
            } catch { found = .bad(error.kind, error.detail, bytes) }
        }
        let outcome = found
        state.withLock { $0.objects[index] = outcome }
    }
}

extension FormatError {
    /// Whole bytes in the wrong place, or bytes that are not whole.
    var faultKind: VerifyFault.Kind {
        if case .wrongIdentity = self { .misplaced } else { .damaged }
    }

    var refusal: ObjectRefusal { ObjectRefusal(kind: faultKind, detail: explanation) }
}
