/* Rules of fields that more than one request about agents has. */
#pragma once

#define AGENT_URL_PATTERN                                                      \
    "https://(\\[[0-9A-Fa-f:.]{2,45}\\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?"
