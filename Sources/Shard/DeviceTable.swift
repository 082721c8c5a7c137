// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where a shard keeps its devices. Devices are noncopyable and large, so each has a place in memory
// of its own that does not move while it is in the table: transports address it by slot number and
// call it through its pointer without copies, reference counts or exclusivity checks.

public import BlockDevice

/// The devices of one shard by slot. Confined to its shard's thread.
public struct DeviceTable<Device: BlockDevice & ~Copyable>: ~Copyable {
    private var slots: [UnsafeMutablePointer<Device>?] = []

    public init() {}

    deinit {
        for slot in slots {
            guard let slot else { continue }
            slot.deinitialize(count: 1)
            slot.deallocate()
        }
    }

    /// One more than the highest slot ever used.
    public var endSlot: Int { slots.count }

    /// Moves a device in and answers its slot, which stays its name until `remove`.
    public mutating func insert(_ device: consuming Device) -> Int {
        let place = UnsafeMutablePointer<Device>.allocate(capacity: 1)
        place.initialize(to: device)
        if let slot = slots.firstIndex(where: { $0 == nil }) {
            slots[slot] = place
            return slot
        }
        slots.append(place)
        return slots.count - 1
    }

    /// Moves a device out. Nothing may hold its pointer any more.
    public mutating func remove(_ slot: Int) -> Device {
        guard let place = pointer(slot) else { preconditionFailure("slot \(slot) is empty") }
        slots[slot] = nil
        let device = place.move()
        place.deallocate()
        return device
    }

    /// The device's place: valid until `remove(slot)`. Nil if the slot is empty or unknown.
    @inline(__always)
    public func pointer(_ slot: Int) -> UnsafeMutablePointer<Device>? {
        slot >= 0 && slot < slots.count ? slots[slot] : nil
    }

    /// Calls `body` with the device, or answers nil if the slot is empty.
    public mutating func withDevice<Result>(
        _ slot: Int, _ body: (inout Device) -> Result
    ) -> Result? {
        guard let place = pointer(slot) else { return nil }
        return body(&place.pointee)
    }
}
