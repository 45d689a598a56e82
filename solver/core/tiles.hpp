// What a mapping reads and holds, and whether it is valid: solver.timing.tiles and solver.timing.validity.
#pragma once

#include <algorithm>
#include <unordered_map>

#include "loops.hpp"

namespace core {

struct Elements {
    Int lane = 1, bank = 1, channel = 1;
};

struct Tiles {
    Vector<Elements> loaded;
    Vector<Int> residuals;
    Int lane_weights = 1;

    Int lane_inputs() const {
        Int sum = 0;
        for (const auto &own : loaded) sum = checked(Wide(sum) + own.lane);
        return sum;
    }

    Int rows(const Layer &layer) const {
        Wide inputs = Wide(residuals.size());
        if (layer.buffer_bits < 0) inputs += 2 * Wide(lane_inputs());
        return checked(Wide(layer.weight) * lane_weights + layer.activation * inputs + layer.accumulator);
    }

    Int buffer_bits(const Layer &layer) const {
        Wide sum = 0;
        for (const auto &own : loaded) sum += own.bank;
        return checked(sum * layer.activation);
    }
};

struct Leveled {
    Int bound;
    int level;
};

using Levels = Vector<Leveled>;

inline bool is_weight(int dim) { return dim == 1 || dim == 2 || dim >= OUTPUTS; }

// The coordinates below the bound while the digits of all loops of higher levels are 0, in rising order.
inline Ints coordinates(Int bound, const Levels &loops, int upto) {
    Ints sums{0};
    Int stride = 1;
    for (auto loop = loops.rbegin(); loop != loops.rend(); ++loop) {
        if (loop->level <= upto) {
            const std::size_t before = sums.size();
            for (Int digit = 1; digit < loop->bound && digit * stride < bound; ++digit)
                for (std::size_t i = 0; i < before; ++i) sums.push_back(digit * stride + sums[i]);
        }
        stride = times(stride, loop->bound);
    }
    sums.erase(std::remove_if(sums.begin(), sums.end(), [&](Int x) { return x >= bound; }), sums.end());
    return sums;
}

struct KeyHash {
    std::size_t operator()(const Ints &key) const {
        std::uint64_t hash = key.size();
        for (Int part : key) hash = (hash ^ std::uint64_t(part)) * 0x9E3779B97F4A7C15ULL + (hash >> 29);
        return std::size_t(hash ^ (hash >> 32));
    }
};

inline Int values(const Layer &layer, const Form &form, const std::array<Levels, DIMS> &loops, int upto) {
    if (form.size() == 1) {
        const Int bound = layer.bounds[std::size_t(form[0].dim)];
        Int all = 1, own = 1;
        for (const auto &loop : loops[std::size_t(form[0].dim)]) {
            all = times(all, loop.bound);
            if (loop.level <= upto) own *= loop.bound;
        }
        return all <= bound ? own : Int(coordinates(bound, loops[std::size_t(form[0].dim)], upto).size());
    }
    Ints found{0};
    for (const auto &term : form) {
        const Ints own = coordinates(layer.bounds[std::size_t(term.dim)], loops[std::size_t(term.dim)], upto);
        Ints sums;
        sums.reserve(found.size() * own.size());
        for (Int value : found)
            for (Int coordinate : own) sums.push_back(value + term.coefficient * coordinate);
        std::sort(sums.begin(), sums.end());
        sums.erase(std::unique(sums.begin(), sums.end()), sums.end());
        found = std::move(sums);
    }
    return Int(found.size());
}

// Counts of one form, which many mappings share, kept until there are too many.
inline Elements distinct(const Layer &layer, const Form &form, const std::array<Levels, DIMS> &loops) {
    if (form.size() == 1)
        return {values(layer, form, loops, 0), values(layer, form, loops, 1), values(layer, form, loops, 2)};
    static std::unordered_map<Ints, Elements, KeyHash> known;
    Ints key;
    for (const auto &term : form) {
        key.insert(key.end(), {layer.bounds[std::size_t(term.dim)], term.coefficient, -1});
        for (const auto &loop : loops[std::size_t(term.dim)])
            key.push_back(loop.bound * 4 + loop.level);
    }
    const auto place = known.find(key);
    if (place != known.end()) return place->second;
    const Elements found{
        values(layer, form, loops, 0), values(layer, form, loops, 1), values(layer, form, loops, 2)};
    if (known.size() > (1u << 16)) known.clear();
    known.emplace(std::move(key), found);
    return found;
}

inline Elements elements(const Layer &layer, const Operand &operand, const std::array<Levels, DIMS> &loops) {
    Elements count;
    for (const auto &form : operand) {
        if (form.empty()) continue;
        const Elements own = distinct(layer, form, loops);
        count.lane = times(count.lane, own.lane);
        count.bank = times(count.bank, own.bank);
        count.channel = times(count.channel, own.channel);
    }
    return count;
}

inline Tiles tiles(const Layer &layer, const Loops &loops, Int depth) {
    constexpr int LEVELS[] = {0, 3, 2, 1};  // temporal, channel, bank, column
    std::array<Levels, DIMS> tile;
    Tiles result;
    Int outer = 0;
    for (const auto &loop : loops) {
        int level = LEVELS[loop.kind];
        if (loop.kind == TEMPORAL) {
            level = outer >= depth ? 0 : 3;
            ++outer;
            if (is_weight(loop.dim)) result.lane_weights = times(result.lane_weights, loop.bound);
        }
        tile[loop.dim].push_back({loop.bound, level});
    }
    for (const auto &operand : layer.loaded) result.loaded.push_back(elements(layer, operand, tile));
    if (!layer.residuals.empty()) {
        for (auto &own : tile)
            for (auto &loop : own)
                if (loop.level == 0) loop.level = 3;
        for (const auto &operand : layer.residuals)
            result.residuals.push_back(elements(layer, operand, tile).channel);
    }
    return result;
}

// Depth of the innermost temporal loop over a dim that a loaded operand reads.
inline Int innermost_read(const Layer &layer, const Loops &loops) {
    Int depth = 0, innermost = 0;
    for (const auto &loop : loops)
        if (loop.kind == TEMPORAL) {
            ++depth;
            if (layer.read[loop.dim]) innermost = depth;
        }
    return innermost;
}

// Whether a mapping breaks no rule of solver.timing.validity; load < 0 stands for none given.
inline bool valid(const Layer &layer, const Loops &loops, Int load, bool given) {
    std::array<Int, DIMS> covered;
    covered.fill(1);
    std::array<Int, 4> used{1, 1, 1, 1};
    for (const auto &loop : loops) {
        covered[loop.dim] = times(covered[loop.dim], loop.bound);
        if (loop.kind == TEMPORAL) continue;
        used[loop.kind] = times(used[loop.kind], loop.bound);
        if (!layer.spread[std::size_t(loop.kind - 1)][loop.dim]) return false;
    }
    for (std::size_t dim = 0; dim < DIMS; ++dim)
        if (covered[dim] < layer.bounds[dim]) return false;
    for (const auto &loop : loops)
        if (covered[loop.dim] / loop.bound * (loop.bound - 1) >= layer.bounds[loop.dim]) return false;
    if (used[CHANNEL] > layer.channels || used[BANK] > layer.banks_per_channel || used[COLUMN] > layer.columns)
        return false;
    if (times(used[CHANNEL], used[BANK]) > layer.most_banks) return false;
    const Int innermost = innermost_read(layer, loops);
    if (given && (load < 0 || load > innermost)) return false;
    const Tiles own = tiles(layer, loops, given ? load : innermost);
    if (own.rows(layer) > layer.rows) return false;
    return layer.buffer_bits < 0 || own.buffer_bits(layer) <= layer.buffer_bits;
}

}  // namespace core
