// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Why a request fails, and the one place where that becomes a status and a code.

internal import Primitives

enum AdminFailure: Error, Equatable {
    case user(UserError)
    case unknownPath(String)
    case wrongMethod(String, path: String, allowed: [String])
    case bodyTooLarge

    var status: Int {
        switch self {
        case .user(let error): Self.status(of: error.kind)
        case .unknownPath: 404
        case .wrongMethod: 405
        case .bodyTooLarge: 413
        }
    }

    var reply: ErrorReply {
        switch self {
        case .user(let error):
            return ErrorReply(error: error.description, code: error.kind.rawValue)
        case .unknownPath(let path):
            return ErrorReply(
                error: "cannot serve \(path) : no such endpoint : see docs/operations/api.md",
                code: UserError.Kind.notFound.rawValue)
        case .wrongMethod(let method, let path, let allowed):
            let list = allowed.joined(separator: ", ")
            return ErrorReply(
                error: "cannot \(method) \(path) : the endpoint does not take it : use \(list)",
                code: "method_not_allowed")
        case .bodyTooLarge:
            return ErrorReply(
                error: "cannot take the request body : it is larger than "
                    + "\(Limits.apiBodyBytesMax) bytes : send less",
                code: UserError.Kind.tooLarge.rawValue)
        }
    }

    private static func status(of kind: UserError.Kind) -> Int {
        switch kind {
        case .badRequest: 400
        case .notFound: 404
        case .conflict, .fenced: 409
        case .tooLarge: 413
        case .storeAway: 503
        case .forbidden: 403
        case .failed: 500
        }
    }
}
