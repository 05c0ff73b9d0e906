// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Ten functions. */
#include "many.h"
