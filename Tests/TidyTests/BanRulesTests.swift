// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The bans on planted lines.

import Testing

@Suite("the ban check")
struct BanRulesTests {
    private func findings(_ text: String, path: String = "Sources/Journal/A.swift") -> [Finding] {
        BanRules.check(SourceText(path: path, text: text))
    }

    @Test(
        "refuses each ambient call and names what to use",
        arguments: [
            "let a = Date()", "let a = Date.now", "let c = ContinuousClock()",
            "SuspendingClock.now", "Int.random(in: 0..<3)", "list.randomElement()",
            "list.shuffled()", "var g = SystemRandomNumberGenerator()", "getenv(\"HOME\")",
            "ProcessInfo.processInfo", "FileManager.default", "try await Task.sleep(for: x)",
            "usleep(3)", "sleep(1)", "Glibc.sleep(1)", "nanosleep(&a, nil)",
            "clock_gettime(CLOCK_MONOTONIC, &t)", "let t = time(nil)", "x = \"\\(Date())\"",
        ])
    func ambient(line: String) {
        let found = findings("\n" + line)
        #expect(found.map(\.line) == [2])
        #expect(found.first?.message.contains("is banned here: ") == true)
        #expect(findings(line, path: "Sources/HostIO/A.swift").isEmpty)
        #expect(findings(line, path: "Sources/martlet/A.swift").isEmpty)
        #expect(findings(line, path: "Tests/JournalTests/A.swift").isEmpty)
    }

    @Test(
        "leaves alone what only looks alike",
        arguments: [
            "let lifetime = runtime(3)", "clock.sleep(1)", "func sleep(_ n: Int)", "myUsleep(3)",
            "VolumeID.random(from: &source)", "// Date() is banned", "let x = \"sleep(1)\"",
            "Dated()", "list.shuffled(using: &generator)", "let x = y as? Int", "try? a()",
        ])
    func lookalikes(line: String) {
        #expect(findings(line).isEmpty)
    }

    @Test(
        "refuses ways to give up, in tests too",
        arguments: ["let x = try! a()", "let x = y as! Int", "fatalError(\"no\")"])
    func giveUp(line: String) {
        #expect(findings(line).count == 1)
        #expect(findings(line, path: "Tests/JournalTests/A.swift").count == 1)
    }

    @Test(
        "refuses a mutex that the thread sanitizer does not know, in tests too",
        arguments: ["let a = Mutex(0)", "let a: Mutex<Int>", "let a: Synchronization.Mutex<Int>"])
    func locks(line: String) {
        #expect(findings(line).count == 1)
        #expect(findings(line, path: "Tests/JournalTests/A.swift").count == 1)
        #expect(findings(line, path: "Sources/Primitives/Lock.swift").isEmpty)
        #expect(findings("let a = HostMutex(0)").isEmpty)
    }

    @Test("refuses marks of unfinished work in comments", arguments: BanRules.unfinished)
    func unfinished(mark: String) {
        #expect(findings("let a = 1 // \(mark): later").count == 1)
        #expect(findings("/* \(mark) */", path: "Benchmarks/a.c").count == 1)
        #expect(findings("// \(mark)X is a word of its own").isEmpty)
    }

    @Test("wants to know who owns what the compiler is told not to check")
    func confined() {
        #expect(findings("final class A: @unchecked Sendable {\n}").map(\.line) == [1])
        #expect(findings("final class A: @unchecked Sendable {  // Confined: its shard\n}").isEmpty)
        #expect(
            findings("/// Confined: its shard.\n@frozen\nstruct A: @unchecked Sendable {").isEmpty)
        #expect(findings("struct A: @unchecked Sendable {\n    // Confined: x\n}").isEmpty)
        #expect(findings("// Confined: x\n\nstruct A: @unchecked Sendable {").count == 1)
        #expect(findings("// Confined: x\nstruct B {}\nstruct A: @unchecked Sendable {").count == 1)
    }
}
