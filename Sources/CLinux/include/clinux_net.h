// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Socket and event calls that the C library's Swift module lacks.

#pragma once
