// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The headers of the system library for BLAKE3, as the module CBLAKE3.

#pragma once
#include <blake3.h>
