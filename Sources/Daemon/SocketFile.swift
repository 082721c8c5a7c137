// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The API's unix socket on disk. One that a dead daemon left behind is removed; one that somebody
// serves, or a file that is no socket, is never touched.

import CLinux
import Glibc
import HostIO
import Primitives

enum SocketFile {
    /// Owner and group may connect.
    private static let mode: mode_t = 0o660

    /// Makes the socket's folder.
    static func makeFolder(of path: String) throws(UserError) {
        guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return }
        do throws(HostIOError) {
            _ = try HostDirectory.open(path: String(path[..<slash]), create: true)
        } catch {
            throw UserError(
                .failed, what: "cannot make the folder of the socket \(path)", why: "\(error)",
                remedy: "choose another path")
        }
    }

    /// Clears the way for a socket at `path`.
    static func prepare(_ path: String) throws(UserError) {
        let what = "cannot listen on unix:\(path)"
        try makeFolder(of: path)
        switch clinux_is_socket(path) {
        case ..<0: return
        case 0:
            throw UserError(
                .failed, what: what, why: "the file exists and is not a socket",
                remedy: "remove it or choose another path")
        default: break
        }
        guard clinux_unix_is_served(path) == 0 else {
            throw UserError(
                .failed, what: what, why: "another process serves it",
                remedy: "stop that daemon or choose another path")
        }
        unlink(path)
    }

    /// Lets owner and group connect.
    static func open(_ path: String) { chmod(path, mode) }
}
