// What random changes of a mapping end with: loops that just cover, full rows, and validity. solver.mapspace.neighbours
// and solver.mapspace.rows.
#pragma once

#include <optional>

#include "tiles.hpp"

namespace core {

struct Mapped {
    Loops loops;
    std::optional<Int> load;
};

inline void drop_ones(Loops &loops) {
    loops.erase(std::remove_if(loops.begin(), loops.end(), [](const Loop &x) { return x.bound == 1; }), loops.end());
}

// Gives every dim loops that just cover it: longer in time if they fall short.
inline void tighten(const Layer &layer, Loops &loops) {
    for (std::uint8_t dim = 0; dim < DIMS; ++dim) {
        const Int bound = layer.bounds[dim];
        auto places = [&] {
            Vector<std::size_t> own;
            for (const bool temporal : {true, false})
                for (std::size_t i = 0; i < loops.size(); ++i)
                    if (loops[i].dim == dim && (loops[i].kind == TEMPORAL) == temporal) own.push_back(i);
            return own;
        };
        Vector<std::size_t> own = places();
        Int covered = 1;
        std::size_t last = loops.size();
        for (std::size_t i : own) {
            covered = times(covered, loops[i].bound);
            if (loops[i].kind == TEMPORAL) last = i;
        }
        if (covered < bound) {
            if (last < loops.size()) {
                loops[last].bound = ceil_div(bound, covered / loops[last].bound);
            } else {
                std::size_t after = 0;
                for (std::size_t i = 0; i < loops.size(); ++i)
                    if (loops[i].kind == TEMPORAL) after = i + 1;
                const Loop rest{dim, TEMPORAL, ceil_div(bound, covered)};
                loops.insert(loops.begin() + std::ptrdiff_t(after), rest);
                own = places();
            }
        }
        for (std::size_t i : own) {
            Int others = 1;
            for (std::size_t j : own)
                if (j != i) others = times(others, loops[j].bound);
            loops[i].bound = ceil_div(bound, others);
        }
    }
}

// Cuts the loop that opens rows of weights in two, so that each row serves more steps, if that leaves it valid.
inline void fill_rows(const Layer &layer, Mapped &mapping) {
    if (layer.steps_per_row < 0 || !layer.has_weights) return;
    Int room = layer.steps_per_row;
    for (std::size_t place = mapping.loops.size(); place-- > 0;) {
        const Loop loop = mapping.loops[place];
        if (loop.kind != TEMPORAL || !is_weight(loop.dim)) continue;
        if (loop.bound <= room) {
            room /= loop.bound;
            continue;
        }
        Int outside = 0;
        for (std::size_t i = 0; i < place; ++i) outside += mapping.loops[i].kind == TEMPORAL;
        auto load = mapping.load;
        if (load && *load > outside) ++*load;
        for (Int inner = room; inner > 1; --inner) {
            Loops cut = mapping.loops;
            cut[place].bound = ceil_div(loop.bound, inner);
            cut.insert(cut.begin() + std::ptrdiff_t(place) + 1, Loop{loop.dim, TEMPORAL, inner});
            if (valid(layer, cut, load.value_or(0), load.has_value())) {
                mapping = {std::move(cut), load};
                return;
            }
        }
        return;
    }
}

// A changed mapping made whole; none if it is not valid.
inline std::optional<Mapped> settled(const Layer &layer, Loops loops, std::optional<Int> load) {
    drop_ones(loops);
    tighten(layer, loops);
    drop_ones(loops);
    Mapped mapping{std::move(loops), load};
    fill_rows(layer, mapping);
    if (mapping.load && *mapping.load >= innermost_read(layer, mapping.loops)) mapping.load.reset();
    if (!valid(layer, mapping.loops, mapping.load.value_or(0), mapping.load.has_value())) return std::nullopt;
    return mapping;
}

}  // namespace core
