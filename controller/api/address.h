/* Addresses that the controller is to call, in bodies. */
#pragma once
#include "rest.h"

/*
 * Refuses an address that no call would lead to, as a fault of the field at pointer;
 * "" and names pass: where a name leads to is known when it is called.
 */
bool address_check(struct request *r, const char *pointer, const char *url);
