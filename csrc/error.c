#include "internal.h"

#include <stdarg.h>
#include <stdio.h>

pe_status pe_fail(pe_error *err, pe_status code, int axis, const char *format, ...) {
    if (err) {
        va_list arguments;
        err->code = code;
        err->axis = axis;
        va_start(arguments, format);
        if (vsnprintf(err->message, sizeof err->message, format, arguments) < 0)
            err->message[0] = 0;
        va_end(arguments);
    }
    return code;
}

const char *pe_shape_text(const pe_tensor *t, char buffer[PE_SHAPE_TEXT]) {
    if (t->ndim < 0 || t->ndim > PE_MAX_DIMS) {
        snprintf(buffer, PE_SHAPE_TEXT, "(%d axes)", (int)t->ndim);
        return buffer;
    }
    size_t used = (size_t)snprintf(buffer, PE_SHAPE_TEXT, "(");
    for (int i = 0; i < t->ndim; i++) {
        const char *separator = i + 1 < t->ndim ? ", " : t->ndim == 1 ? "," : "";
        /* room is kept for the closing "...)", which says that axes are missing */
        char axis[32];
        size_t length = (size_t)snprintf(axis, sizeof axis, "%lld%s", (long long)t->shape[i], separator);
        if (used + length + 5 > PE_SHAPE_TEXT) {
            used += (size_t)snprintf(buffer + used, PE_SHAPE_TEXT - used, "...");
            break;
        }
        used += (size_t)snprintf(buffer + used, PE_SHAPE_TEXT - used, "%s", axis);
    }
    snprintf(buffer + used, PE_SHAPE_TEXT - used, ")");
    return buffer;
}
