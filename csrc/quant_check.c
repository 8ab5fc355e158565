/* What the quantized products ask of their arguments. */
#include "quant.h"

#include <stdlib.h>
#include <string.h>

static void name_dtypes(unsigned dtypes, char text[64]) {
    text[0] = 0;
    for (int d = 0; d < PE_DTYPE_COUNT; d++)
        if (dtypes >> d & 1) {
            if (text[0]) strcat(text, " or ");
            strcat(text, pe_dtype_name(d));
        }
}

pe_status pe_quant_operand(const pe_tensor *t, const char *operation, const struct pe_operand_rule *rule,
                           pe_error *err) {
    char text[64];
    if (t && !(pe_dtype_size(t->dtype) && rule->dtypes >> t->dtype & 1)) {
        name_dtypes(rule->dtypes, text);
        return pe_fail(err, PE_ERR_DTYPE, -1, "%s: %s must be %s, is %s", operation, rule->name, text,
                       pe_dtype_name(t->dtype));
    }
    pe_status status = pe_check_tensor(t, operation, rule->name, err);
    if (status) return status;
    if (t->ndim != rule->axes)
        return pe_fail(err, PE_ERR_SHAPE, -1, "%s: %s must have %d axes, has %d", operation, rule->name, rule->axes,
                       (int)t->ndim);
    if ((uintptr_t)t->data % pe_dtype_size(t->dtype))
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: the data of %s are not aligned to %zu bytes", operation,
                       rule->name, pe_dtype_size(t->dtype));
    return PE_OK;
}

pe_status pe_quant_vector(const pe_tensor *t, const char *operation, const char *name, int dtype, int64_t size,
                          int one_allowed, pe_error *err) {
    char shape[PE_SHAPE_TEXT];
    if (!t) return PE_OK;
    pe_status status = pe_quant_operand(t, operation, &(struct pe_operand_rule){ name, 1, 1u << dtype }, err);
    if (status) return status;
    if (t->shape[0] != size && !(one_allowed && t->shape[0] == 1))
        return pe_fail(err, PE_ERR_SHAPE, 0, "%s: %s %s must have %lld elements%s", operation, name,
                       pe_shape_text(t, shape), (long long)size, one_allowed ? " or 1" : "");
    return PE_OK;
}

static void byte_range(const pe_tensor *t, intptr_t *low, intptr_t *high) {
    *low = *high = (intptr_t)t->data;
    for (int d = 0; d < t->ndim; d++) {
        int64_t reach = (t->shape[d] - 1) * t->strides[d]; /* fits: pe_check_tensor has tried it */
        *(reach < 0 ? low : high) += (intptr_t)reach;
    }
    *high += (intptr_t)pe_dtype_size(t->dtype);
}

pe_status pe_quant_apart(const pe_tensor *out, const pe_tensor *t, const char *operation, const char *name,
                         pe_error *err) {
    intptr_t low, high, out_low, out_high;
    if (!t || pe_numel(t) == 0 || pe_numel(out) == 0) return PE_OK;
    byte_range(t, &low, &high);
    byte_range(out, &out_low, &out_high);
    if (low < out_high && out_low < high)
        return pe_fail(err, PE_ERR_ARGUMENT, -1, "%s: the output must not overlap %s", operation, name);
    return PE_OK;
}

pe_status pe_quant_writable(const pe_tensor *out, const char *operation, pe_error *err) {
    int64_t size = (int64_t)pe_dtype_size(out->dtype), reach = 0;
    int narrow = 1, wide = 0;
    if (pe_numel(out) == 0) return PE_OK;
    if (llabs(out->strides[0]) < llabs(out->strides[1])) narrow = 0, wide = 1;
    if (out->shape[narrow] > 1) {
        if (llabs(out->strides[narrow]) < size)
            return pe_fail(err, PE_ERR_ARGUMENT, narrow, "%s: the output overlaps itself along axis %d", operation,
                           narrow);
        reach = llabs(out->strides[narrow]) * (out->shape[narrow] - 1);
    }
    if (out->shape[wide] > 1 && llabs(out->strides[wide]) < reach + size)
        return pe_fail(err, PE_ERR_ARGUMENT, wide, "%s: the output overlaps itself along axis %d", operation, wide);
    return PE_OK;
}

void pe_quant_dense(void *to, const pe_tensor *t, int64_t count) {
    int64_t step = t->shape[0] == 1 ? 0 : t->strides[0];
    const char *from = t->data;
    for (int64_t i = 0; i < count; i++, from += step) memcpy((char *)to + 4 * i, from, 4);
}
