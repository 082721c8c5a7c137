// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The store of a volume, which tells the tripwire what it reads.

import Maintenance
import ObjectStore

struct WatchedStore<Base: ObjectStore>: ForwardingStore {
    let base: Base
    let tripwire: Tripwire<DaemonStore>

    func get(
        _ key: String, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(ObjectStoreError) {
        tripwire.note(key)
        try base.get(key, at: offset, into: buffer)
    }
}
