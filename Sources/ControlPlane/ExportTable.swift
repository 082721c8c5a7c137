// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What this node knows: the newest ref of every export it has seen, what runs here under which
// name, and the reader refs of its read-only views. Memory only; the store and the cache directory
// are the truth.

import Documents
import Primitives
import Synchronization

final class ExportTable: Sendable {
    struct View: Sendable {
        let attachment: Attachment
        /// The reader ref that pins it, where one could be written.
        let reader: Token?
    }

    private struct State {
        var refs: [RefName: ExportRef] = [:]
        var attached: [RefName: Attachment] = [:]
        var views: [ServedVolume: View] = [:]
    }

    private let state = Lock(State())

    /// Keeps the newer of what is known and `ref`.
    func learn(_ ref: ExportRef) {
        state.withLock { state in
            if let known = state.refs[ref.name], known.number > ref.number { return }
            state.refs[ref.name] = ref
        }
    }

    func ref(_ name: RefName) -> ExportRef? { state.withLock { $0.refs[name] } }

    var refs: [ExportRef] {
        state.withLock { state in state.refs.values.sorted { $0.name < $1.name } }
    }

    func attachment(_ name: RefName) -> Attachment? { state.withLock { $0.attached[name] } }

    func setAttachment(_ attachment: Attachment?, of name: RefName) {
        state.withLock { $0.attached[name] = attachment }
    }

    /// Names of what runs here for writing, in order.
    var writers: [(name: RefName, served: ServedVolume)] {
        state.withLock { state in
            state.attached.filter { $0.value.served.snapshot == nil }
                .map { (name: $0.key, served: $0.value.served) }
                .sorted { $0.name < $1.name }
        }
    }

    func view(_ served: ServedVolume) -> View? { state.withLock { $0.views[served] } }

    func setView(_ view: View?, of served: ServedVolume) {
        state.withLock { state in
            state.views[served] = view
            guard view == nil else { return }
            state.attached = state.attached.filter { $0.value.served != served }
        }
    }

    var views: [ServedVolume] { state.withLock { Array($0.views.keys) } }
}
