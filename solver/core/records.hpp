// When what the blocks of a consumer read is finished: solver.timing.need, for the blocks that can make it wait, where
// all blocks keep the order of the loops.
#pragma once

#include "profile.hpp"

namespace core {

// Coordinates of a producer axis that each value of a form reads; none where a value is its own coordinate. The
// arrays are those of Python: there may be millions of values.
struct Interval {
    Array low, high;
    bool alike;                             // whether all values read the same
    Vector<Vector<std::uint32_t>> by_size;  // the values that read one, two to three, four to seven .. of them

    Interval(Array lows, Array highs) : low(std::move(lows)), high(std::move(highs)) {
        const auto constant = [](const Array &own) {
            return std::all_of(own.data(), own.data() + own.size(), [&](Int value) { return value == own.data()[0]; });
        };
        alike = low.size() && low.data()[0] <= high.data()[0] && constant(low) && constant(high);
        for (Py_ssize_t i = 0; i < low.size(); ++i) {
            std::size_t size_class = 0;
            const Int length = high.data()[i] - low.data()[i] + 1;
            if (length <= 0) continue;
            while (length >> (size_class + 1)) ++size_class;
            if (by_size.size() <= size_class) by_size.resize(size_class + 1);
            by_size[size_class].push_back(std::uint32_t(i));
        }
    }
};

struct Group {
    Vector<int> axes;
    Form terms;
    Int offset;
    Ints extents;
    Vector<std::optional<Interval>> intervals;
};

struct Edge {
    Int number = next_number();
    Vector<Group> groups;
    bool residual;
};

// Maxima of a group over its own block loops, the outermost first: `levels[k]` has one entry for each
// combination of the digits of the first k loops, the largest over those of the others.
struct Need {
    Vector<int> places;
    Ints shape;
    Vector<Ints> levels;
};

struct Records {
    Ints starts, need;
};

// The dims of each output axis: N; G and K; P; Q.
inline const Vector<std::size_t> &dims_of(int axis) {
    static const Vector<Vector<std::size_t>> dims{{0}, {1, 2}, {3}, {4}};
    return dims[std::size_t(axis)];
}

// Each sum of one of some values and one of others, the latter innermost.
inline Ints outer_sum(const Ints &before, const Ints &after) {
    if (before.size() == 1 && before[0] == 0) return after;
    if (after.size() == 1 && after[0] == 0) return before;
    Ints sums(before.size() * after.size());
    Int *next = sums.data();
    for (Int own : before)
        for (Int other : after) *next++ = own + other;
    return sums;
}

// Finish of each coordinate of an output axis, as far as it depends on the coordinate.
inline Ints axis_finish(const Profile &producer, int axis) {
    Ints table{0};
    for (std::size_t dim : dims_of(axis))
        table = outer_sum(table, coordinate_sums(producer, dim, [](const Digit &loop) { return loop.weight; }));
    return table;
}

// The largest of some values, in four parts that do not wait for each other.
inline Int largest(const Int *values, std::size_t count) {
    std::array<Int, 4> most{-INFINITE, -INFINITE, -INFINITE, -INFINITE};
    std::size_t i = 0;
    for (; i + 4 <= count; i += 4)
        for (std::size_t k = 0; k < 4; ++k) most[k] = std::max(most[k], values[i + k]);
    for (; i < count; ++i) most[0] = std::max(most[0], values[i]);
    return std::max(std::max(most[0], most[1]), std::max(most[2], most[3]));
}

// Maxima of a table over intervals, minus infinity for empty ones: a sparse table, as long as is needed.
inline Ints range_maximum(const Ints &table, const Interval &interval) {
    const Int *low = interval.low.data(), *high = interval.high.data();
    const auto count = std::size_t(interval.low.size());
    if (interval.alike) return Ints(count, largest(&table[std::size_t(*low)], std::size_t(*high - *low + 1)));
    Ints result(count, -INFINITE);
    if (interval.by_size.size() == 1) {
        for (std::uint32_t i : interval.by_size[0]) result[i] = table[std::size_t(low[i])];
        return result;
    }
    Ints level = table;  // of each place and those after it, `size` together
    Int size = 1;
    for (const auto &values : interval.by_size) {
        for (std::uint32_t i : values)
            result[i] = std::max(level[std::size_t(low[i])], level[std::size_t(high[i] - size + 1)]);
        if (&values == &interval.by_size.back()) break;
        for (std::size_t i = 0; i + std::size_t(size) < level.size(); ++i)
            level[i] = std::max(level[i], level[i + std::size_t(size)]);
        level.resize(level.size() - std::size_t(size));
        size *= 2;
    }
    return result;
}

// Largest finish of what each value of the group's form reads.
inline Ints form_values(const Group &group, const Profile &producer) {
    Ints values{0};
    for (std::size_t i = 0; i < group.axes.size(); ++i) {
        Ints axis = axis_finish(producer, group.axes[i]);
        if (group.intervals[i])
            axis = range_maximum(axis, *group.intervals[i]);
        else
            axis.resize(std::size_t(std::min(group.extents[i], Int(axis.size()))));
        values = outer_sum(values, axis);
    }
    return values;
}

// The block loops of a consumer that a group depends on, the outermost first, and for each dim of its form the share
// of each coordinate in the number of an entry: there is one for each combination of the digits of those loops.
struct Asked {
    Vector<int> places;
    Ints shape, strides;
    Int entries = 1;
    Vector<Ints> shares;
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
    for (const auto &term : group.terms)
        asked.shares.push_back(coordinate_sums(consumer, std::size_t(term.dim), [&](const Digit &loop) {
            if (loop.place < 0) return Int(0);
            const auto place = std::find(asked.places.begin(), asked.places.end(), loop.place);
            return asked.strides[std::size_t(place - asked.places.begin())];
        }));
    return asked;
}

// Calls `visit(entry, value of the form)` for every combination of coordinates, from one of the terms on.
template <typename Visit>
void each_point(const Group &group, const Asked &asked, const Visit &visit, std::size_t term, Int entry, Int value) {
    if (term == group.terms.size()) {
        visit(entry, value);
        return;
    }
    const Int coefficient = group.terms[term].coefficient;
    const bool last = term + 1 == group.terms.size();
    for (Int share : asked.shares[term]) {
        if (last)
            visit(entry + share, value);
        else
            each_point(group, asked, visit, term + 1, entry + share, value);
        value += coefficient;
    }
}

// Whether all points of a consumer read the same values of a group's only axis, and no padding.
inline bool reads_alike(const Group &group, const Profile &consumer) {
    if (group.intervals.size() != 1 || !group.intervals[0] || !group.intervals[0]->alike) return false;
    Int first = group.offset, last = group.offset;
    for (const auto &term : group.terms) {
        const Int reach = term.coefficient * (consumer.bounds[std::size_t(term.dim)] - 1);
        (reach > 0 ? last : first) += reach;
    }
    return first >= 0 && last < group.intervals[0]->low.size();
}

inline Need group_need(const Group &group, const Profile &producer, const Profile &consumer) {
    const Ints values = form_values(group, producer);
    if (reads_alike(group, consumer)) return {{}, {}, {{values[0]}}};
    const Int count = Int(values.size());
    Asked asked = asked_of(group, consumer);
    Ints table(std::size_t(asked.entries), -INFINITE);
    const auto raise = [&](Int entry, Int value) {
        if (value >= 0 && value < count)
            table[std::size_t(entry)] = std::max(table[std::size_t(entry)], values[std::size_t(value)]);
    };
    each_point(group, asked, raise, 0, 0, group.offset);
    Need need;
    need.places = std::move(asked.places);
    need.shape = std::move(asked.shape);
    need.levels.assign(need.places.size() + 1, {});
    need.levels.back() = std::move(table);
    for (std::size_t k = need.places.size(); k-- > 0;) {
        const Int *finer = need.levels[k + 1].data();
        const std::size_t width = std::size_t(need.shape[k]);
        Ints &coarser = need.levels[k];
        coarser.resize(need.levels[k + 1].size() / width);
        for (Int &own : coarser) {
            own = largest(finer, width);
            finer += width;
        }
    }
    return need;
}

// Walks over the blocks in order and keeps those that need more than all before them; parts of the blocks that
// cannot are left out.
class Walk {
   public:
    Walk(const Profile &consumer, const Vector<Need> &needs, Int base, bool residual)
        : needs_(needs), base_(base), depths_(needs.size(), 0), entries_(needs.size(), 0) {
        for (std::size_t place = 0; place < consumer.shape.size(); ++place) {
            const bool last_only = residual && consumer.dims[place] >= OUTPUTS;
            const Int bound = consumer.shape[place], weight = consumer.weights[place];
            Step step{bound, weight, last_only ? bound - 1 : 0, {}, {}};
            for (std::size_t g = 0; g < needs.size(); ++g) {
                const auto &own = needs[g].places;
                const bool depends = std::find(own.begin(), own.end(), int(place)) != own.end();
                (depends ? step.owners : step.others).push_back(g);
            }
            if (step.owners.empty())
                start_ += step.first * weight;
            else
                steps_.push_back(std::move(step));
        }
    }

    Records run() {
        Int most = base_;
        for (const auto &need : needs_) most += need.levels[0][0];
        if (most > highest_) {
            if (steps_.empty())
                keep(start_, most);
            else
                visit(0, start_);
        }
        return std::move(records_);
    }

   private:
    // A block loop that some groups depend on, and those groups.
    struct Step {
        Int bound, weight, first;
        Vector<std::size_t> owners, others;
    };

    void keep(Int start, Int most) {
        records_.starts.push_back(start);
        records_.need.push_back(highest_ = most);
    }

    void visit(std::size_t at, Int start) {
        const Step &step = steps_[at];
        const bool last = at + 1 == steps_.size();
        Int fixed = base_;
        for (std::size_t g : step.others) fixed += needs_[g].levels[depths_[g]][entries_[g]];
        for (std::size_t g : step.owners) {
            ++depths_[g];
            entries_[g] *= std::size_t(step.bound);
        }
        for (Int digit = 0; digit < step.bound; ++digit) {
            Int most = fixed;
            for (std::size_t g : step.owners) most += needs_[g].levels[depths_[g]][entries_[g]];
            if (digit >= step.first && most > highest_) {
                if (last)
                    keep(start + digit * step.weight, most);
                else
                    visit(at + 1, start + digit * step.weight);
            }
            for (std::size_t g : step.owners) ++entries_[g];
        }
        for (std::size_t g : step.owners) {
            --depths_[g];
            entries_[g] = (entries_[g] - std::size_t(step.bound)) / std::size_t(step.bound);
        }
    }

    const Vector<Need> &needs_;
    Int base_, highest_ = -1, start_ = 0;
    Vector<std::size_t> depths_, entries_;
    Vector<Step> steps_;
    Records records_;
};

}  // namespace core
