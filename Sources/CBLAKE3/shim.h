#pragma once
#include <blake3.h>
