// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The headers of the system library for XXH3, as the module CXXHash.

#pragma once
#include <xxhash.h>
