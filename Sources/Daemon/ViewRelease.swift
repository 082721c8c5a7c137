// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// From a shard that sees a view without clients to the control plane that may let it go. Shards
// exist before the control plane does, hence the late introduction.

import ControlPlane
import Primitives
import Shard
import Synchronization

final class ViewRelease: Sendable {
    private let hands: Hands
    private let control = Lock<DaemonControl?>(nil)

    init(hands: Hands) { self.hands = hands }

    func connect(_ control: DaemonControl) { self.control.withLock { $0 = control } }

    /// Called by shards: never blocks. A release that finds no room is asked for again later.
    func release(_ served: ServedVolume) {
        guard let control = control.withLock({ $0 }) else { return }
        _ = hands.control.trySubmit { control.release(served) }
    }
}
