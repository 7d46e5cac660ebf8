# Declares what the files of this room define: "const struct resource  x = {".
#   awk -f resources.awk *.c > api_resources.h

BEGIN {
    print "/* Made by controller/api/resources.awk. */\n#pragma once\n#include \"resource.h\"\n"
}

/^const struct resource +[a-z_]+ = / {
    print "extern const struct resource  " $4 ";"
    all = all " \\\n    X(" $4 ")"
}

END {
    print "\n#define API_RESOURCES(X)" all
}
