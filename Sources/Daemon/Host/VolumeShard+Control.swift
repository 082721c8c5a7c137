// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Questions of the control plane to the volumes of a shard, and departures. Every question gets
// exactly one answer: the volume's, or that the deadline passed, or that the volume is gone.

import NBDServer
import Primitives
import Shard
import VolumeEngine

extension VolumeShard {
    mutating func control(
        _ place: Place, _ verb: ControlVerb, _ deadline: Instant?,
        _ answer: Answer<ControlResult>
    ) {
        guard let tenant = tenant(place), let device = devices.pointer(place.slot) else {
            return answer.give(.absent)
        }
        guard tenant.departure == nil else { return answer.give(.failed(.closing)) }
        switch verb {
        case .leave(let isClean):
            tenants[place.slot]?.departure = Departure(
                isClean: isClean, deadline: deadline, answer: answer)
            leaving.append(place.slot)
            device.pointee.volume.releaseAllAnswers()
            sessions.touch(device: place.slot)
            sessions.closeAll(device: place.slot, devices: devices)
            return
        case .compact:
            // Nobody waits: the report says how it goes.
            device.pointee.volume.requestCompaction(ControlRequest(number: nextQuestion))
            nextQuestion += 1
            sessions.touch(device: place.slot)
            return answer.give(.begun)
        case .rollback:
            let writers = sessions.writers(ofDevice: place.slot)
            if writers > 0 { return answer.give(.writersAttached(writers)) }
        case .commit, .resize, .acknowledge: break
        }
        var isHolding = false
        if case .rollback = verb { isHolding = true }
        let request = ask(
            Question(
                answer: answer, place: place, deadline: deadline, isHolding: isHolding,
                isDeparture: false))
        switch verb {
        case .commit: device.pointee.volume.requestCommit(request)
        case .resize(let size): device.pointee.volume.requestResize(request, to: size)
        case .rollback(let root): device.pointee.volume.requestRollback(request, to: root)
        case .acknowledge: device.pointee.volume.requestAcknowledge(request)
        case .leave, .compact: break
        }
        sessions.touch(device: place.slot)
    }

    private mutating func ask(_ question: Question) -> ControlRequest {
        let number = nextQuestion
        nextQuestion += 1
        questions[number] = question
        return ControlRequest(number: number)
    }

    /// Nobody may connect: the content is about to be another one. A rollback that the store did
    /// not take in time is still on its way, and a guest that came now would see its disk change.
    func isHeld(_ place: Place) -> Bool {
        questions.values.contains { $0.isHolding && $0.place == place }
    }

    /// The volume has answered. A question whose deadline passed is no longer there, unless it
    /// holds the volume.
    mutating func answered(_ request: ControlRequest, _ answer: ControlAnswer) {
        guard let question = questions.removeValue(forKey: request.number) else { return }
        let result: ControlResult =
            switch answer {
            case .committed(let root): .committed(root)
            case .resized(let size): .resized(size)
            case .failed(let failure): .failed(failure)
            }
        settle(question, result)
    }

    private mutating func settle(_ question: Question, _ result: ControlResult) {
        guard !question.isOverdue else { return }
        let slot = question.place.slot
        guard question.isDeparture else { return question.answer.give(result) }
        guard tenant(question.place) != nil else { return }
        if case .failed = result {
            // It stays, and serves what it still may.
            tenants[slot]?.departure = nil
            leaving.removeAll { $0 == slot }
            return question.answer.give(result)
        }
        tenants[slot]?.departure?.step = .emptying(result)
    }

    mutating func expireQuestions() {
        for (number, question) in questions {
            guard let deadline = question.deadline, deadline <= now, !question.isOverdue
            else { continue }
            questions[number] = nil
            settle(question, .timedOut)
            guard question.isHolding else { continue }
            questions[number] = question
            questions[number]?.isOverdue = true
        }
    }

    // MARK: Departures

    /// Takes each departure as far as it goes. True if a volume was called.
    mutating func advanceLeaving() -> Bool {
        var didCall = false
        for slot in leaving {
            guard let tenant = tenants[slot], let departure = tenant.departure else { continue }
            switch departure.step {
            case .disconnecting:
                guard sessions.isSettled(device: slot) else { continue }
                didCall = true
                guard departure.isClean else {
                    tenants[slot]?.departure?.step = .emptying(.left)
                    continue
                }
                tenants[slot]?.departure?.step = .closing
                let request = ask(
                    Question(
                        answer: departure.answer, place: tenant.place,
                        deadline: departure.deadline, isHolding: false, isDeparture: true))
                devices.pointer(slot)?.pointee.volume.requestClose(request)
                sessions.touch(device: slot)
            case .closing: continue
            case .emptying(let result):
                guard tenant.effectsRunning == 0 else { continue }
                remove(slot, departure, result)
            }
        }
        leaving.removeAll { tenants[$0]?.departure == nil }
        return didCall
    }

    private mutating func remove(_ slot: Int, _ departure: Departure, _ result: ControlResult) {
        let place = tenants[slot]?.place
        if let held = devices.pointer(slot)?.pointee.volume.segmentsHeld {
            tenants[slot]?.worker.disown(segments: held)
        }
        tenants[slot] = nil
        backlog.removeAll { $0.slot == slot }
        for (number, question) in questions where question.place == place {
            questions[number] = nil
            if !question.isOverdue { question.answer.give(.absent) }
        }
        _ = devices.remove(slot)
        departure.answer.give(result)
    }
}
