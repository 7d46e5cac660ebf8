/* The API's own description, OpenAPI 3.1. */
#pragma once
#include "rest.h"

/* Handler: prints the route and field tables. */
bool openapi_get(struct request *r);
