// When what the blocks of a consumer read is finished: solver.timing.need, for the blocks that can make it wait, where
// all blocks keep the order of the loops.
#pragma once

#include "profile.hpp"

namespace core {

// Coordinates of a producer axis that each value of a form reads; none where a value is its own coordinate. The
// arrays are those of Python: there may be millions of values.
struct Interval {
    Array low, high;
};

struct Group {
    std::vector<int> axes;
    Form terms;
    Int offset;
    Ints extents;
    std::vector<std::optional<Interval>> intervals;
};

struct Edge {
    Int number = next_number();
    std::vector<Group> groups;
    bool residual;
};

// Maxima of a group over its own block loops, the outermost first: `levels[k]` has one entry for each
// combination of the digits of the first k loops, the largest over those of the others.
struct Need {
    std::vector<int> places;
    Ints shape;
    std::vector<Ints> levels;
};

struct Records {
    Ints starts, need;
};

// The dims of each output axis: N; G and K; P; Q.
inline const std::vector<std::size_t> &dims_of(int axis) {
    static const std::vector<std::vector<std::size_t>> dims{{0}, {1, 2}, {3}, {4}};
    return dims[std::size_t(axis)];
}

// Finish of each coordinate of an output axis, as far as it depends on the coordinate.
inline Ints axis_finish(const Profile &producer, int axis) {
    Ints table{0};
    for (std::size_t dim : dims_of(axis)) {
        Ints own{0};
        for (const auto &loop : producer.digits[dim]) {
            Ints sums;
            sums.reserve(own.size() * std::size_t(loop.bound));
            for (Int before : own)
                for (Int digit = 0; digit < loop.bound; ++digit) sums.push_back(before + digit * loop.weight);
            own = std::move(sums);
        }
        own.resize(std::size_t(producer.bounds[dim]), 0);
        Ints sums;
        sums.reserve(table.size() * own.size());
        for (Int before : table)
            for (Int after : own) sums.push_back(before + after);
        table = std::move(sums);
    }
    return table;
}

// Maxima of a table over intervals, minus infinity for empty ones: a sparse table, as long as is needed.
inline Ints range_maximum(const Ints &table, const Interval &interval) {
    const std::size_t count = std::size_t(interval.low.size());
    const Int *low = interval.low.data(), *high = interval.high.data();
    Ints result(count, -INFINITE), level = table;
    Int longest = 0;
    for (std::size_t i = 0; i < count; ++i) longest = std::max(longest, high[i] - low[i] + 1);
    for (Int size = 1; size <= longest; size *= 2) {
        for (std::size_t i = 0; i < count; ++i) {
            const Int length = high[i] - low[i] + 1;
            if (length >= size && length < 2 * size)
                result[i] = std::max(level[std::size_t(low[i])], level[std::size_t(high[i] - size + 1)]);
        }
        if (Int(level.size()) > size) {
            for (std::size_t i = 0; i + std::size_t(size) < level.size(); ++i)
                level[i] = std::max(level[i], level[i + std::size_t(size)]);
            level.resize(level.size() - std::size_t(size));
        }
    }
    return result;
}

// Largest finish of what each value of the group's form reads.
inline Ints form_values(const Group &group, const Profile &producer) {
    Ints values;
    for (std::size_t i = 0; i < group.axes.size(); ++i) {
        Ints axis = axis_finish(producer, group.axes[i]);
        if (group.intervals[i])
            axis = range_maximum(axis, *group.intervals[i]);
        else
            axis.resize(std::size_t(std::min(group.extents[i], Int(axis.size()))));
        if (i == 0) {
            values = std::move(axis);
            continue;
        }
        Ints sums;
        sums.reserve(values.size() * axis.size());
        for (Int before : values)
            for (Int after : axis) sums.push_back(before + after);
        values = std::move(sums);
    }
    return values;
}

// What the blocks of a consumer ask of a group: its block loops, the outermost first, and (entry, value) of every
// combination of coordinates, an entry for each combination of the digits of those loops.
struct Asked {
    std::vector<int> places;
    Ints shape, strides;
    Int entries = 1;
    std::vector<std::pair<Int, Int>> points;
};

inline Asked asked_of(const Group &group, const Profile &consumer) {
    Asked asked;
    for (const auto &term : group.terms)
        for (const auto &loop : consumer.digits[std::size_t(term.dim)])
            if (loop.place >= 0) asked.places.push_back(loop.place);
    std::sort(asked.places.begin(), asked.places.end());
    for (int place : asked.places) {
        asked.shape.push_back(consumer.shape[std::size_t(place)]);
        asked.entries *= asked.shape.back();
    }
    asked.strides.assign(asked.places.size(), 1);
    for (std::size_t i = asked.places.size(); i-- > 1;) asked.strides[i - 1] = asked.strides[i] * asked.shape[i];
    asked.points.push_back({0, group.offset});  // one dim after the other
    for (const auto &term : group.terms) {
        const Int bound = consumer.bounds[std::size_t(term.dim)];
        std::vector<std::pair<Int, Int>> own{{0, 0}};  // entry, coordinate
        for (const auto &loop : consumer.digits[std::size_t(term.dim)]) {
            Int stride = 0;
            if (loop.place >= 0) {
                const auto place = std::find(asked.places.begin(), asked.places.end(), loop.place);
                stride = asked.strides[std::size_t(place - asked.places.begin())];
            }
            std::vector<std::pair<Int, Int>> more;
            more.reserve(own.size() * std::size_t(loop.bound));
            for (const auto &[entry, coordinate] : own)
                for (Int digit = 0; digit < loop.bound; ++digit)
                    more.push_back({entry + digit * stride, coordinate * loop.bound + digit});
            own = std::move(more);
        }
        own.erase(
            std::remove_if(own.begin(), own.end(), [&](const auto &x) { return x.second >= bound; }), own.end());
        std::vector<std::pair<Int, Int>> more;
        more.reserve(asked.points.size() * own.size());
        for (const auto &[entry, value] : asked.points)
            for (const auto &[offset, coordinate] : own)
                more.push_back({entry + offset, value + coordinate * term.coefficient});
        asked.points = std::move(more);
    }
    return asked;
}

inline Need group_need(const Group &group, const Profile &producer, const Profile &consumer) {
    const Ints values = form_values(group, producer);
    const Int count = Int(values.size());
    Asked asked = asked_of(group, consumer);
    Ints table(std::size_t(asked.entries), -INFINITE);
    for (const auto &[entry, value] : asked.points)
        if (value >= 0 && value < count)
            table[std::size_t(entry)] = std::max(table[std::size_t(entry)], values[std::size_t(value)]);
    Need need;
    need.places = std::move(asked.places);
    need.shape = std::move(asked.shape);
    need.levels.assign(need.places.size() + 1, {});
    need.levels.back() = std::move(table);
    for (std::size_t k = need.places.size(); k-- > 0;) {
        const Ints &finer = need.levels[k + 1];
        const std::size_t width = std::size_t(need.shape[k]);
        Ints &coarser = need.levels[k];
        coarser.assign(finer.size() / width, -INFINITE);
        for (std::size_t i = 0; i < finer.size(); ++i) coarser[i / width] = std::max(coarser[i / width], finer[i]);
    }
    return need;
}

// Walks over the blocks in order and keeps those that need more than all before them; parts of the blocks that
// cannot are left out.
class Walk {
   public:
    Walk(const Profile &consumer, const std::vector<Need> &needs, Int base, bool residual)
        : consumer_(consumer), needs_(needs), base_(base), residual_(residual) {}

    Records run() {
        std::vector<std::size_t> depths(needs_.size(), 0), entries(needs_.size(), 0);
        visit(0, 0, depths, entries);
        return std::move(records_);
    }

   private:
    void visit(
        std::size_t place, Int start, std::vector<std::size_t> &depths, std::vector<std::size_t> &entries) {
        Int most = base_;
        for (std::size_t g = 0; g < needs_.size(); ++g) most += needs_[g].levels[depths[g]][entries[g]];
        if (most <= highest_) return;
        if (place == consumer_.shape.size()) {
            records_.starts.push_back(start);
            records_.need.push_back(most);
            highest_ = most;
            return;
        }
        const bool last_only = residual_ && consumer_.dims[place] >= OUTPUTS;
        const Int bound = consumer_.shape[place], weight = consumer_.weights[place];
        const Int first = last_only ? bound - 1 : 0;
        std::uint32_t owners = 0;
        for (std::size_t g = 0; g < needs_.size(); ++g)
            if (depths[g] < needs_[g].places.size() && needs_[g].places[depths[g]] == int(place)) owners |= 1u << g;
        if (!owners) {
            visit(place + 1, start + first * weight, depths, entries);
            return;
        }
        step(owners, 1, 0, depths, entries, bound);
        for (Int digit = 0; digit < bound; ++digit) {
            if (digit >= first) visit(place + 1, start + digit * weight, depths, entries);
            for (std::size_t g = 0; g < needs_.size(); ++g) entries[g] += owners >> g & 1;
        }
        step(owners, -1, bound, depths, entries, bound);
    }

    // Goes into the digits of a loop for the groups that depend on it, or back out of them.
    void step(
        std::uint32_t owners,
        int way,
        Int passed,
        std::vector<std::size_t> &depths,
        std::vector<std::size_t> &entries,
        Int bound) const {
        for (std::size_t g = 0; g < needs_.size(); ++g) {
            if (!(owners >> g & 1)) continue;
            depths[g] += std::size_t(way);
            entries[g] = way > 0 ? entries[g] * std::size_t(bound)
                                 : (entries[g] - std::size_t(passed)) / std::size_t(bound);
        }
    }

    const Profile &consumer_;
    const std::vector<Need> &needs_;
    Int base_, highest_ = -1;
    bool residual_;
    Records records_;
};

}  // namespace core
