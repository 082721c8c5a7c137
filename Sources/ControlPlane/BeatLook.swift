// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A look at beats: who serves a volume now. A convenience, as all that beats are for.

package import Documents
package import ObjectStore
package import Primitives

package struct BeatLook {
    /// Wall clock, seconds since 1970.
    let now: UInt64
    /// A beat older than this says nothing.
    let staleSeconds: UInt64
    /// A node that does not count.
    let except: RefName?

    package init(
        now: UInt64,
        staleSeconds: UInt64 = ControlPlaneConfiguration.usualBeatStaleSeconds,
        except: RefName? = nil
    ) {
        self.now = now
        self.staleSeconds = staleSeconds
        self.except = except
    }

    /// The node whose newest beat says that it serves the volume, with its address; and the beats
    /// that were seen, by key, `known` ones among them: a beat never changes.
    package func server<Store: ObjectStore>(
        of volume: VolumeID, _ refs: RefStore<Store>, known: [String: NodeBeat] = [:]
    ) throws(UserError) -> (server: String?, seen: [String: NodeBeat]) {
        var last: RefName?
        var seen: [String: NodeBeat] = [:]
        var server: String?
        for key in try refs.keys(prefix: RefKey.nodesPrefix) {
            guard case .numbered(.node(let node), _) = RefKey(parsing: key) else { continue }
            defer { last = node }
            guard node != last, node != except else { continue }
            // One that is gone or unreadable says nothing.
            guard let beat = known[key] ?? (try? refs.read(key, in: .node(node))) else { continue }
            seen[key] = beat
            if beat.volumes.contains(volume), !isStale(beat) {
                server = beat.address.isEmpty ? "\(node)" : "\(node) (\(beat.address))"
            }
        }
        return (server, seen)
    }

    /// By the label, whose clock may be wrong: one from the future counts as fresh.
    private func isStale(_ beat: NodeBeat) -> Bool {
        now > beat.labelSeconds && now - beat.labelSeconds > staleSeconds
    }
}
