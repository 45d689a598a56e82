// Integers, loops and layers as the core sees them. All arithmetic is exact: what could leave 64 bits is refused
// with `Unsuited`, and the Python twin, whose integers are unlimited, answers instead.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>

#include "recycled.hpp"

namespace py = pybind11;

namespace core {

using Int = std::int64_t;
__extension__ using Wide = __int128;
using Ints = Vector<Int>;
using Array = py::array_t<Int, py::array::c_style>;

constexpr Int INFINITE = Int(1) << 60;  // solver.timing.infinity
constexpr Int LARGEST = Int(1) << 56;   // of counts and costs within a layer; below MAX_LATENCY of solver.timing.profile
constexpr int DIMS = 8, OUTPUTS = 5;
constexpr const char *DIM_NAMES = "NGKPQCRS";

enum Kind : std::uint8_t { TEMPORAL, CHANNEL, BANK, COLUMN };

// Something that only unlimited integers can answer.
struct Unsuited {};

inline Int checked(Wide value) {
    if (value > LARGEST || value < -LARGEST) throw Unsuited{};
    return Int(value);
}

inline Int times(Int a, Int b) { return checked(Wide(a) * b); }

inline Int ceil_div(Wide a, Wide b) { return checked((a + b - 1) / b); }

inline Int ceil_div(Int a, Int b) { return (a + b - 1) / b; }

struct Loop {
    std::uint8_t dim;
    Kind kind;
    Int bound;
};

using Loops = Vector<Loop>;

// Reads a tuple of (dim, bound, kind), as `Mapping.loops` has them.
inline Loops loops_of(py::handle given) {
    static const std::array<std::int8_t, 128> dims = [] {
        std::array<std::int8_t, 128> found{};
        found.fill(-1);
        for (std::int8_t i = 0; i < DIMS; ++i) found[std::size_t(DIM_NAMES[i])] = i;
        return found;
    }();
    Loops loops;
    const Py_ssize_t count = PyTuple_GET_SIZE(given.ptr());
    loops.reserve(std::size_t(count));
    for (Py_ssize_t i = 0; i < count; ++i) {
        PyObject *loop = PyTuple_GET_ITEM(given.ptr(), i);
        if (!PyTuple_Check(loop) || PyTuple_GET_SIZE(loop) != 3 || !PyUnicode_Check(PyTuple_GET_ITEM(loop, 0)) ||
            !PyLong_Check(PyTuple_GET_ITEM(loop, 1)) || !PyUnicode_Check(PyTuple_GET_ITEM(loop, 2)))
            throw Unsuited{};
        const int dim = dims[PyUnicode_READ_CHAR(PyTuple_GET_ITEM(loop, 0), 0) & 127];
        int overflow = 0;
        const Int bound = PyLong_AsLongLongAndOverflow(PyTuple_GET_ITEM(loop, 1), &overflow);
        PyObject *name = PyTuple_GET_ITEM(loop, 2);
        const Py_UCS4 first = PyUnicode_READ_CHAR(name, 0);
        const Kind kind = first == 't'   ? TEMPORAL
                          : first == 'b' ? BANK
                          : PyUnicode_READ_CHAR(name, 1) == 'h' ? CHANNEL : COLUMN;
        if (overflow || dim < 0 || bound < 1) throw Unsuited{};
        loops.push_back({std::uint8_t(dim), kind, bound});
    }
    return loops;
}

struct Term {
    int dim;
    Int coefficient;
};

using Form = Vector<Term>;
using Operand = Vector<Form>;

struct Fraction {
    Int numerator, denominator;

    // Whole cycles that bits take if `units` share in the bandwidth.
    Int cycles(Int bits, Int units = 1) const {
        return ceil_div(Wide(bits) * denominator, Wide(units) * numerator);
    }
};

// A layer on a chip: what profiles and validity depend on (models.layer, hw.hardware).
struct Layer {
    std::array<Int, DIMS> bounds;
    std::array<bool, DIMS> read;
    Vector<Operand> loaded, residuals;
    Vector<Vector<int>> sums;
    bool has_weights;
    Int post;

    Int activation, weight, accumulator;
    Int mac, add, move, row_write, post_cycles, load, drain, open;
    Int input_row_write, steps_per_row, sync_blocks;
    Fraction load_width, drain_width, bank_width, channel_width;
    bool reloaded, host;
    Int channels, banks_per_channel, columns, most_banks, rows, buffer_bits;
    std::array<std::array<bool, DIMS>, 3> spread;
};

}  // namespace core
