/* THE map of everything the controller answers. */
#pragma once
#include "rest.h"

extern const struct route  routes[];     /* NULL method ends */
