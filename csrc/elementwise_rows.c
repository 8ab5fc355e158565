/* What elementwise.def says about each operation, for those who ask. */
#include "internal.h"

#include <string.h>

/* bits of backward_takes: which inputs follow the gradient from above */
enum { IN0 = 1, IN1 = 2, IN2 = 4, IN3 = 8, NOTHING = 0, OUTPUT = PE_TAKES_OUTPUT, INPUTS = IN0 };
#define KEEP(takes) ((takes) & OUTPUT ? PE_KEEP_OUTPUT : (takes) ? PE_KEEP_INPUTS : PE_KEEP_NONE)

#define TYPE_f32 PE_FLOAT32
#define TYPE_bool PE_BOOL
#define FLOATS(t, n) .inputs = n, .in_dtype = {TYPE_##t, TYPE_##t, TYPE_##t, TYPE_##t}, .out_dtype = TYPE_##t
#define TO_BOOL(t, n) .inputs = n, .in_dtype = {TYPE_##t, TYPE_##t, PE_BOOL, PE_BOOL}, .out_dtype = PE_BOOL
#define NO_GRADIENT .backward = {-1, -1, -1, -1}

#define ROW_1(t, label, takes, op) \
    {label, FLOATS(t, 1), .keep = KEEP(takes), .backward = {op, -1, -1, -1}, .backward_takes = {takes}},
#define ROW_2(t, label, takes_a, op_a, takes_b, op_b)                              \
    {label, FLOATS(t, 2), .keep = KEEP((takes_a) | (takes_b)),             \
     .backward = {op_a, op_b, -1, -1}, .backward_takes = {takes_a, takes_b}},
/* second derivatives are symmetric in h and g: either may be replaced by the gradient from above.
 * Their gradient to what was kept would be a third derivative: there is none. */
#define ROW_KEPT(t, label, op)                                                     \
    {label, FLOATS(t, 3), .keep = PE_KEEP_INPUTS,                          \
     .backward = {op, op, -1, -1}, .backward_takes = {IN1 | IN2, IN0 | IN2}},
#define ROW_SECOND(t, label, op)                                                   \
    {label, FLOATS(t, 4), .keep = PE_KEEP_INPUTS,                          \
     .backward = {op, op, -1, -1}, .backward_takes = {IN1 | IN2 | IN3, IN0 | IN2 | IN3}},
#define ROW_FIRST(t, label, op, op_a, op_b, takes)                                 \
    {label, FLOATS(t, 3), .keep = PE_KEEP_INPUTS,                          \
     .backward = {op, op_a, op_b, -1}, .backward_takes = {IN1 | IN2, takes, takes}},

#define UNARY(t, name, work, slope, keep, f, df, d2)                                                   \
    ROW_1(t, #name, keep, PE_OP_##name##_backward)                                                     \
    ROW_2(t, #name "_backward", IN1, PE_OP_##name##_backward, IN0 | IN1, PE_OP_##name##_backward_kept) \
    ROW_KEPT(t, #name "_backward_kept", PE_OP_##name##_backward_kept)
#define UNARY_PIECEWISE(t, name, work, keep, f, df)   \
    ROW_1(t, #name, keep, PE_OP_##name##_backward)    \
    ROW_2(t, #name "_backward", IN1, PE_OP_##name##_backward, NOTHING, PE_OP_zero)
#define UNARY_BY(t, name, work, f, op, takes) ROW_1(t, #name, takes, PE_OP_##op)
#define BINARY(t, name, work, slope, f, da, db, haa, hab, hbb)                                         \
    ROW_2(t, #name, IN0 | IN1, PE_OP_##name##_backward_a, IN0 | IN1, PE_OP_##name##_backward_b)        \
    ROW_FIRST(t, #name "_backward_a", PE_OP_##name##_backward_a, PE_OP_##name##_backward_aa,           \
              PE_OP_##name##_backward_ab, IN0 | IN1 | IN2)                                             \
    ROW_FIRST(t, #name "_backward_b", PE_OP_##name##_backward_b, PE_OP_##name##_backward_ab,           \
              PE_OP_##name##_backward_bb, IN0 | IN1 | IN2)                                             \
    ROW_SECOND(t, #name "_backward_aa", PE_OP_##name##_backward_aa)                                    \
    ROW_SECOND(t, #name "_backward_ab", PE_OP_##name##_backward_ab)                                    \
    ROW_SECOND(t, #name "_backward_bb", PE_OP_##name##_backward_bb)
#define BINARY_LINEAR(t, name, work, slope, f, op_a, takes_a, db, hab, hbb)                            \
    ROW_2(t, #name, takes_a, PE_OP_##op_a, IN0 | IN1, PE_OP_##name##_backward_b)                       \
    ROW_FIRST(t, #name "_backward_b", PE_OP_##name##_backward_b, PE_OP_##name##_backward_ab,           \
              PE_OP_##name##_backward_bb, IN0 | IN1 | IN2)                                             \
    ROW_SECOND(t, #name "_backward_ab", PE_OP_##name##_backward_ab)                                    \
    ROW_SECOND(t, #name "_backward_bb", PE_OP_##name##_backward_bb)
#define BINARY_PIECEWISE(t, name, work, f, da, db)                                                     \
    ROW_2(t, #name, IN0 | IN1, PE_OP_##name##_backward_a, IN0 | IN1, PE_OP_##name##_backward_b)        \
    ROW_FIRST(t, #name "_backward_a", PE_OP_##name##_backward_a, PE_OP_zero, PE_OP_zero, NOTHING)      \
    ROW_FIRST(t, #name "_backward_b", PE_OP_##name##_backward_b, PE_OP_zero, PE_OP_zero, NOTHING)
#define BINARY_BY(t, name, work, f, op_a, takes_a, op_b, takes_b) \
    ROW_2(t, #name, takes_a, PE_OP_##op_a, takes_b, PE_OP_##op_b)
#define COMPARE(t, name, relation) {#name, TO_BOOL(t, 2), NO_GRADIENT},
#define TEST(t, name, property) {#name, TO_BOOL(t, 1), NO_GRADIENT},
#define LOGICAL(name, f) {#name, TO_BOOL(bool, 2), NO_GRADIENT},
#define LOGICAL_NOT(name, f) {#name, TO_BOOL(bool, 1), NO_GRADIENT},
#define ROW_CHOSEN(t, label, op)                                                               \
    {label, .inputs = 2, .in_dtype = {TYPE_##t, PE_BOOL}, .out_dtype = TYPE_##t,       \
     .keep = PE_KEEP_INPUTS, .backward = {op, -1, -1, -1}, .backward_takes = {IN1}},
#define CHOICE(t, name)                                                                        \
    {#name, .inputs = 3, .in_dtype = {PE_BOOL, TYPE_##t, TYPE_##t}, .out_dtype = TYPE_##t, \
     .keep = PE_KEEP_INPUTS, .backward_takes = {0, IN0, IN0},                                  \
     .backward = {-1, PE_OP_##name##_backward_a, PE_OP_##name##_backward_b, -1}},              \
    ROW_CHOSEN(t, #name "_backward_a", PE_OP_##name##_backward_a)                              \
    ROW_CHOSEN(t, #name "_backward_b", PE_OP_##name##_backward_b)

static const pe_elementwise_info rows[PE_OP_COUNT] = {
#include "kernels/elementwise.def"
};

int pe_elementwise_count(void) { return PE_OP_COUNT; }

const pe_elementwise_info *pe_elementwise_describe(int op) {
    return op >= 0 && op < PE_OP_COUNT ? &rows[op] : NULL;
}

const char *pe_elementwise_name(int op) { return op >= 0 && op < PE_OP_COUNT ? rows[op].name : NULL; }

int pe_elementwise_find(const char *name) {
    for (int op = 0; name && op < PE_OP_COUNT; op++)
        if (strcmp(rows[op].name, name) == 0) return op;
    return -1;
}
