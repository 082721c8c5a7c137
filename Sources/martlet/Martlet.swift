// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The command line.

@main
struct Martlet {
    static func main() {}
}
