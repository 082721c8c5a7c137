// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The one place where failures of the layers below become sentences for people.

package import Committer
package import Documents
package import HostIO
package import ObjectStore
package import Primitives
import VolumeMap

extension UserError {
    package init(_ what: String, _ error: ObjectStoreError) {
        switch error {
        case .away(let key, let detail):
            self.init(
                .storeAway, what: what, why: "the object store does not answer (\(key): \(detail))",
                remedy: "try again when the store is back; nothing was changed or lost")
        case .misconfigured(let key, let detail, let remedy):
            self.init(
                .storeAway, what: what, why: "the object store cannot be used (\(key): \(detail))",
                remedy: remedy)
        case .forbidden(let key, let detail):
            self.init(
                .forbidden, what: what, why: "the object store refused \(key) (\(detail))",
                remedy: "check the credentials and their permissions")
        case .notFound(let key):
            self.init(
                .failed, what: what, why: "the object \(key) is missing from the store",
                remedy: "run martlet verify on the repository")
        case .damaged(let key, let detail):
            self.init(
                .failed, what: what, why: "the object \(key) is damaged (\(detail))",
                remedy: "run martlet verify on the repository")
        case .refused(let key, let detail):
            self.init(
                .failed, what: what, why: "the object store cannot take \(key) (\(detail))",
                remedy: "check that the store supports create-if-absent and keys of this length")
        }
    }

    package init(_ what: String, _ error: HostIOError) {
        self.init(
            .failed, what: what, why: error.description,
            remedy: "check the cache directory: its disk, its space, its permissions")
    }

    package init(_ what: String, _ key: String, _ error: DocumentError) {
        if case .unsupportedVersion(_, let found, _) = error {
            self.init(
                .failed, what: what, why: "\(key) is \(error.explanation)",
                remedy: "use a martlet release that knows version \(found)")
            return
        }
        self.init(
            .failed, what: what, why: "\(key) cannot be read: \(error.explanation)",
            remedy: "run martlet inspect on it; restore it or remove it if it is foreign")
    }

    package init(_ what: String, _ error: CommitError) {
        switch error {
        case .local(let error): self.init(what, error)
        case .store(let error): self.init(what, error)
        case .fetch(let error) where error.isRetryable:
            self.init(
                .storeAway, what: what, why: "\(error)",
                remedy: "try again when the store is back; nothing was changed or lost")
        case .damagedLocal(let path, let error):
            self.init(
                .failed, what: what, why: "\(path) is damaged (\(error))",
                remedy: "open it with --force: it then starts from the last commit")
        case .damagedObject(let key, let error):
            self.init(
                .failed, what: what, why: "\(key) is damaged (\(error))",
                remedy: "run martlet verify on the repository")
        case .misplaced(let name, let expected, let found):
            self.init(
                .failed, what: what, why: "\(name) holds commit \(found) instead of \(expected)",
                remedy: "run martlet verify on the repository")
        default:
            self.init(
                .failed, what: what, why: "\(error)", remedy: "look into the daemon's log")
        }
    }
}

/// Runs `body` and says `what` failed if it does.
package func explainStore<Value>(
    _ what: String, _ body: () throws(ObjectStoreError) -> Value
) throws(UserError) -> Value {
    do throws(ObjectStoreError) { return try body() } catch { throw UserError(what, error) }
}

package func explainLocal<Value>(
    _ what: String, _ body: () throws(HostIOError) -> Value
) throws(UserError) -> Value {
    do throws(HostIOError) { return try body() } catch { throw UserError(what, error) }
}

package func explainCommit<Value>(
    _ what: String, _ body: () throws(CommitError) -> Value
) throws(UserError) -> Value {
    do throws(CommitError) { return try body() } catch { throw UserError(what, error) }
}
