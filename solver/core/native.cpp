// The compiled core: what searches do most often. Each function has a twin in Python, which is its specification
// and answers in its place where None is returned, for numbers that do not fit into 64 bits.

#include "bins.hpp"
#include "channels.hpp"
#include "ledger.hpp"
#include "moves.hpp"
#include "records.hpp"
#include "waiting.hpp"
#include "ways.hpp"

namespace core {
namespace {

Array array_of(const Ints &values) { return Array(Py_ssize_t(values.size()), values.data()); }

Operand operand_of(const Vector<Vector<std::pair<int, Int>>> &forms) {
    Operand operand;
    for (const auto &terms : forms) {
        Form form;
        for (const auto &[dim, coefficient] : terms) form.push_back({dim, coefficient});
        operand.push_back(std::move(form));
    }
    return operand;
}

Layer layer_of(const py::dict &given) {
    using Operands = Vector<Vector<Vector<std::pair<int, Int>>>>;
    auto number = [&](const char *name) { return given[name].cast<Int>(); };
    auto fraction = [&](const char *name) {
        const auto parts = given[name].cast<std::pair<Int, Int>>();
        return Fraction{parts.first, parts.second};
    };
    Layer layer;
    layer.bounds = given["bounds"].cast<std::array<Int, DIMS>>();
    layer.read = given["read"].cast<std::array<bool, DIMS>>();
    for (const auto &forms : given["loaded"].cast<Operands>()) layer.loaded.push_back(operand_of(forms));
    for (const auto &forms : given["residuals"].cast<Operands>()) layer.residuals.push_back(operand_of(forms));
    layer.sums = given["sums"].cast<Vector<Vector<int>>>();
    layer.spread = given["spread"].cast<std::array<std::array<bool, DIMS>, 3>>();
    layer.has_weights = given["has_weights"].cast<bool>();
    layer.reloaded = given["reloaded"].cast<bool>();
    layer.host = given["host"].cast<bool>();
    layer.load_width = fraction("load_width");
    layer.drain_width = fraction("drain_width");
    layer.bank_width = fraction("bank_width");
    layer.channel_width = fraction("channel_width");
    layer.post = number("post");
    layer.activation = number("activation");
    layer.weight = number("weight");
    layer.accumulator = number("accumulator");
    layer.mac = number("mac");
    layer.add = number("add");
    layer.move = number("move");
    layer.row_write = number("row_write");
    layer.post_cycles = number("post_cycles");
    layer.load = number("load");
    layer.drain = number("drain");
    layer.open = number("open");
    layer.input_row_write = number("input_row_write");
    layer.steps_per_row = number("steps_per_row");
    layer.sync_blocks = number("sync_blocks");
    layer.channels = number("channels");
    layer.banks_per_channel = number("banks_per_channel");
    layer.columns = number("columns");
    layer.most_banks = number("most_banks");
    layer.rows = number("rows");
    layer.buffer_bits = number("buffer_bits");
    return layer;
}

std::shared_ptr<Edge> edge_of(const py::list &groups, bool residual) {
    auto edge = shared<Edge>();
    edge->residual = residual;
    for (const auto &given : groups) {
        const auto parts = given.cast<py::tuple>();
        Group group;
        group.axes = parts[0].cast<Vector<int>>();
        for (const auto &[dim, coefficient] : parts[1].cast<Vector<std::pair<int, Int>>>())
            group.terms.push_back({dim, coefficient});
        group.offset = parts[2].cast<Int>();
        group.extents = parts[3].cast<Ints>();
        for (const auto &interval : parts[4]) {
            if (interval.is_none())
                group.intervals.push_back(std::nullopt);
            else
                group.intervals.push_back(
                    Interval{interval[py::int_(0)].cast<Array>(), interval[py::int_(1)].cast<Array>()});
        }
        edge->groups.push_back(std::move(group));
    }
    return edge;
}

std::optional<bool> valid_mapping(const Layer &layer, const py::tuple &loops, std::optional<Int> load) {
    try {
        return valid(layer, loops_of(loops), load.value_or(0), load.has_value());
    } catch (const Unsuited &) {
        return std::nullopt;
    }
}

// Loops as `Loop` of Python has them, which is `made`: a tuple with names.
py::tuple named(const Loops &loops, const py::object &made) {
    // Never destroyed: the interpreter ends before static objects do.
    static const auto &dims = *new std::array<py::str, DIMS>{"N", "G", "K", "P", "Q", "C", "R", "S"};
    static const auto &kinds = *new std::array<py::str, 4>{"temporal", "channel", "bank", "column"};
    auto *type = reinterpret_cast<PyTypeObject *>(made.ptr());
    py::tuple result(loops.size());
    for (std::size_t i = 0; i < loops.size(); ++i) {
        const Loop &loop = loops[i];
        const py::tuple parts = py::make_tuple(py::make_tuple(dims[loop.dim], loop.bound, kinds[loop.kind]));
        result[i] = py::reinterpret_steal<py::object>(PyTuple_Type.tp_new(type, parts.ptr(), nullptr));
    }
    return result;
}

// The loops and the load depth of a changed mapping made whole, None if it is not valid; False for what Python has
// to compute. `made` is the type of a loop.
py::object settle(const Layer &layer, const py::tuple &loops, std::optional<Int> load, const py::object &made) {
    try {
        const auto found = settled(layer, loops_of(loops), load);
        if (!found) return py::none();
        return py::make_tuple(named(found->loops, made), found->load);
    } catch (const Unsuited &) {
        return py::bool_(false);
    }
}

py::tuple tuple_of(const Ints &values) {
    py::tuple result(values.size());
    for (std::size_t i = 0; i < values.size(); ++i)
        PyTuple_SET_ITEM(result.ptr(), Py_ssize_t(i), PyLong_FromLongLong(values[i]));
    return result;
}

// What a profile is made of, in the order in which `Profile` has it; None for what Python has to compute.
py::object profiled(const Layer &layer, const py::tuple &loops, std::optional<Int> load) {
    try {
        const auto p = profile(layer, loops_of(loops), load);
        const py::object opening = p->open < 0 ? py::object(py::none()) : py::object(py::int_(p->open));
        return py::make_tuple(
            p->banks, p->rows, tuple_of(p->weights), p->load, p->drain, opening, p->shape.size(), p->t_in, p->t_out,
            p->t_open, p->t_weights, p->lead, p->total, tuple_of(p->shape), p->finish_base, p->last_finish, p);
    } catch (const Unsuited &) {
        return py::none();
    }
}

// (rows, bits in a buffer, elements for a lane, cycles) for each depth of the load up to one.
py::object loads(const Layer &layer, const py::tuple &given, Int deepest) {
    try {
        const Loops loops = loops_of(given);
        Int banks_per_channel = 1;
        for (const auto &loop : loops)
            if (loop.kind == BANK) banks_per_channel = times(banks_per_channel, loop.bound);
        py::list result;
        for (Int depth = 0; depth <= deepest; ++depth) {
            const Tiles tile = tiles(layer, loops, depth);
            result.append(py::make_tuple(
                tile.rows(layer), tile.buffer_bits(layer), tile.lane_inputs(),
                load_cycles(layer, tile, banks_per_channel)));
        }
        return result;
    } catch (const Unsuited &) {
        return py::none();
    }
}

py::tuple reading(const Profile &producer, const Profile &consumer, const Edge &edge) {
    const auto found = records_of(producer, consumer, edge);
    return py::make_tuple(array_of(found->starts), array_of(found->need));
}

std::shared_ptr<Network> network_of(
    const Vector<Vector<std::pair<int, std::shared_ptr<Edge>>>> &sources, const Vector<int> &line,
    Int transfer) {
    auto network = shared<Network>();
    network->transfer = transfer;
    network->line = line;
    network->readers.resize(sources.size());
    for (std::size_t layer = 0; layer < sources.size(); ++layer) {
        network->sources.emplace_back();
        for (const auto &[producer, edge] : sources[layer]) {
            network->sources.back().push_back({producer, edge});
            network->readers[std::size_t(producer)].push_back({int(layer), edge});
        }
    }
    return network;
}

const TimesPointer &times_of(const Timeline *timeline, std::size_t layer) {
    static const TimesPointer none;
    return timeline ? timeline->times()[layer] : none;
}

Vector<const Times *> plain(const Vector<TimesPointer> &given) {
    Vector<const Times *> result;
    for (const auto &times : given) result.push_back(times.get());
    return result;
}

// Runs one layer after its producers, given in the order in which it reads them.
std::shared_ptr<Times> next_layer(
    const Network &network, int layer, const py::object &profile, const std::shared_ptr<Profile> &own, Int release,
    const Vector<TimesPointer> &sources, const TimesPointer &old, const Vector<TimesPointer> &before) {
    return run(network, layer, profile, own, release, plain(sources), old, plain(before));
}

// Runs all layers.
Timeline evaluate(
    const Network &network, const Vector<py::object> &profiles, Vector<std::shared_ptr<Profile>> own,
    const Vector<Int> &releases, const Timeline *previous) {
    Vector<TimesPointer> done(profiles.size());
    Vector<const Times *> sources, before;
    for (int layer : network.line) {
        const auto i = std::size_t(layer);
        sources.clear();
        before.clear();
        for (const auto &source : network.sources[i]) {
            sources.push_back(done[std::size_t(source.producer)].get());
            before.push_back(times_of(previous, std::size_t(source.producer)).get());
        }
        done[i] = run(
            network, layer, profiles[i], std::move(own[i]), releases[i], sources, times_of(previous, i), before);
    }
    return Timeline(std::move(done));
}

// The times and banks of all layers, placed one after the other; None if the rows do not fit together. So many layers
// that choose first have those of a plan that is given.
py::object overlapped(
    const Network &network, const Vector<py::object> &profiles, const Vector<std::shared_ptr<Profile>> &own,
    const Vector<int> &priority, const Vector<bool> &punctual, const Timeline *previous,
    const py::object &old_banks, std::size_t kept, const std::tuple<Int, Int, Int, bool> &chip) {
    const auto [channels, banks_per_channel, rows_per_bank, keeps] = chip;
    Ledger ledger({channels, banks_per_channel, rows_per_bank, keeps});
    Vector<TimesPointer> done(profiles.size());
    Vector<const Times *> sources, before;
    const BankSet none(channels * banks_per_channel, false);
    Vector<BankSet> all_banks(profiles.size(), none);
    const LayerBanks *known = py::isinstance<LayerBanks>(old_banks) ? &old_banks.cast<const LayerBanks &>() : nullptr;
    for (std::size_t turn = 0; turn < priority.size(); ++turn) {
        const auto i = std::size_t(priority[turn]);
        const TimesPointer old = times_of(previous, i);
        if (turn < kept) {
            done[i] = old;
            all_banks[i] = known ? known->set(i) : ledger.set_of(old_banks[py::int_(i)]);
            ledger.hold(*old->own, old->start, old->end, all_banks[i]);
        } else {
            sources.clear();
            before.clear();
            for (const auto &source : network.sources[i]) {
                sources.push_back(done[std::size_t(source.producer)].get());
                before.push_back(times_of(previous, std::size_t(source.producer)).get());
            }
            const auto natural = run(network, int(i), profiles[i], own[i], 0, sources, old, before);
            auto placed = place(ledger, natural, punctual[i], old);
            if (!placed) return py::none();
            done[i] = placed->times;
            all_banks[i] = std::move(placed->banks);
            ledger.hold(*own[i], done[i]->start, done[i]->end, all_banks[i]);
        }
    }
    return py::make_tuple(Timeline(std::move(done)), LayerBanks(std::move(all_banks)));
}

Array delay_at(const Times &times, const Array &ideal) {
    const Ints &steps = times.steps();
    Array result(ideal.size());
    for (Py_ssize_t i = 0; i < ideal.size(); ++i) {
        const auto place = std::lower_bound(steps.begin(), steps.end(), ideal.data()[i]);
        result.mutable_data()[i] = times.delays[std::size_t(place - steps.begin()) - 1];
    }
    return result;
}

Array real_starts(const Times &times) {
    const Ints &steps = times.steps();
    Ints starts = block_starts(*times.own);
    std::size_t at = 0;
    for (Int &start : starts) {
        while (at < steps.size() && steps[at] <= start) ++at;
        start += times.delays[at - 1];
    }
    return array_of(starts);
}

py::object order_of_blocks(const Times &times) {
    return times.own->order ? times.own->order->given : py::object(py::none());
}

// The order of the blocks if the layer has the same blocks under another profile.
py::object order_under(const Times &times, const py::object &profile) {
    if (!times.own->order) return py::none();
    const bool same = profile.attr("temporal").equal(times.profile.attr("temporal")) &&
                      profile.attr("depth").equal(times.profile.attr("depth"));
    return same ? order_of_blocks(times) : py::object(py::none());
}

// The bins of each of some items, in turn; None if one finds none.
std::optional<Vector<Array>> first_fit(
    Int groups, Int width, Int capacity, const Vector<std::tuple<Int, Int, Int>> &items, Int sign) {
    Room room(groups, width, capacity);
    Vector<Array> places;
    for (const auto &[item_groups, bins, size] : items) {
        const auto place = room.take({item_groups, bins, size}, sign);
        if (!place) return std::nullopt;
        places.push_back(array_of(*place));
    }
    return places;
}

// The banks of all layers, which take the first free ones of channels of their own: (layer, banks, channels).
LayerBanks banks_within(
    Int channels, Int width, const Vector<std::tuple<std::size_t, Int, Ints>> &layers) {
    Vector<BankSet> sets(layers.size(), BankSet(channels * width, false));
    Ints used(std::size_t(channels), 0);
    for (const auto &[layer, size, own] : layers) {
        const Int banks = size / Int(own.size());
        for (Int c : own) {
            const Int first = c * width + used[std::size_t(c)];
            sets[layer].add_run(first, first + banks);
            used[std::size_t(c)] += banks;
        }
    }
    return LayerBanks(std::move(sets));
}

Order order_of(const Vector<std::string> &names) {
    Order order;
    for (const auto &name : names) order.push_back(int(std::string_view(DIM_NAMES).find(name)));
    return order;
}

Vector<Order> orders_of(const Vector<Vector<std::string>> &names) {
    Vector<Order> orders;
    for (const auto &own : names) orders.push_back(order_of(own));
    return orders;
}

// Ways to fill columns, shape (dims that are given options, ways).
Array fillings(const Vector<Ints> &options, Int columns, const Vector<double> &reachable, double target) {
    const auto ways = filled(options, columns, reachable, target);
    const std::size_t count = ways.empty() ? 1 : ways[0].size();
    Array result({ways.size(), count});
    Int *next = result.mutable_data();
    for (const auto &own : ways) next = std::copy(own.begin(), own.end(), next);
    return result;
}

// The mappings with few steps on any of some (channel bounds, bank bounds, ways to fill the columns); None for what
// Python has to compute.
std::optional<Batch> batch_of(
    const std::shared_ptr<Layer> &layer, const Vector<std::tuple<Bounds, Bounds, Array>> &given,
    double most_steps) {
    try {
        Ways ways(*layer, most_steps);
        for (const auto &[channel, bank, columns] : given)
            ways.add({channel, bank, columns.data(), std::size_t(columns.shape(1))});
        return std::move(ways).batch(layer);
    } catch (const Unsuited &) {
        return std::nullopt;
    }
}

}  // namespace
}  // namespace core

PYBIND11_MODULE(native, module) {
    using namespace core;
    module.doc() = "The compiled core; see solver.core.";
    module.attr("REVISION") = 6;
    py::class_<Layer, std::shared_ptr<Layer>>(module, "Layer").def(py::init(&layer_of));
    py::class_<Edge, std::shared_ptr<Edge>>(module, "Edge").def(py::init(&edge_of));
    py::class_<Profile, std::shared_ptr<Profile>>(module, "Profile");
    py::class_<Wait, std::shared_ptr<Wait>>(module, "Wait")
        .def_readonly("producer", &Wait::producer)
        .def_property_readonly("steps", [](const Wait &wait) { return array_of(wait.records->starts); })
        .def_property_readonly("delays", [](const Wait &wait) { return array_of(wait.delays); });
    py::class_<Times, std::shared_ptr<Times>>(module, "Times")
        .def_readonly("profile", &Times::profile)
        .def_readonly("release", &Times::release)
        .def_readonly("start", &Times::start)
        .def_readonly("end", &Times::end)
        .def_readonly("own", &Times::own)
        .def_property_readonly("order", &order_of_blocks)
        .def_property_readonly("steps", [](const Times &times) { return array_of(times.steps()); })
        .def_property_readonly("delays", [](const Times &times) { return array_of(times.delays); })
        .def_property_readonly(
            "waits", [](const Times &times) { return py::tuple(py::cast(times.waits)); })
        .def_property_readonly("earliest", [](const Times &times) { return times.release + times.own->lead; })
        .def_property_readonly("first_block", [](const Times &times) { return times.start + times.own->lead; })
        .def_property_readonly("last_delay", [](const Times &times) { return times.delays.back(); })
        .def_property_readonly("binding_producer", &Times::binding_producer)
        .def_property_readonly(
            "waited", [](const Times &times) { return times.delays.back() - times.start - times.own->lead; })
        .def("order_under", &order_under)
        .def("block_starts", &real_starts)
        .def("delay_at", &delay_at)
        .def("postponed", [](const Times &times, Int release) { return postponed(times, release); });
    py::class_<Timeline>(module, "Timeline")
        .def(py::init<Vector<TimesPointer>>())
        .def_property_readonly("layers", &Timeline::layers)
        .def_property_readonly("profiles", &Timeline::profiles)
        .def_property_readonly("ends", &Timeline::ends)
        .def_property_readonly("ordered", &Timeline::ordered)
        .def_property_readonly("critical", &Timeline::critical)
        .def_property_readonly("latency", &Timeline::latency);
    py::class_<LayerBanks>(module, "LayerBanks")
        .def("__len__", &LayerBanks::size)
        .def("before", &LayerBanks::before)
        .def("__getitem__", &LayerBanks::of);
    py::class_<Network, std::shared_ptr<Network>>(module, "Network")
        .def(py::init(&network_of))
        .def("next_layer", &next_layer)
        .def("evaluate", &evaluate)
        .def("impact", &impact)
        .def("overlapped", &overlapped);
    py::class_<Remaining>(module, "Remaining")
        .def(py::init<std::shared_ptr<Network>, const Timeline &, const Remaining *>())
        .def("through", &Remaining::through);
    using Names = Vector<std::string>;
    py::class_<Batch>(module, "Batch")
        .def_property_readonly("count", &Batch::count)
        .def(
            "fastest",
            [](const Batch &batch, const Vector<Names> &orders, std::size_t most) {
                return batch.fastest(orders_of(orders), most);
            })
        .def(
            "streaming",
            [](const Batch &batch, const Vector<Names> &orders, double slowest, double finer) {
                return batch.streaming(orders_of(orders), slowest, finer);
            })
        .def("loops", [](const Batch &batch, std::size_t i, const Names &order, const py::object &made) {
            return named(batch.loops(i, order_of(order)), made);
        });
    module.def("first_fit", &first_fit);
    module.def("banks_within", &banks_within);
    module.def("chosen_channels", &chosen_channels);
    module.def("filled_channels", [](const Ints &free, const Vector<std::tuple<Int, Ints, Int>> &layers) {
        Vector<Cuttable> own;
        for (const auto &[banks, cuts, channels] : layers) own.push_back({banks, cuts, channels});
        return filled_channels(free, own);
    });
    module.def("fillings", &fillings);
    module.def("batch", &batch_of);
    module.def("same", &same);
    module.def("clear", [] {
        known_records().clear();
        known_gathers().clear();
        known_sums().clear();
        Recycler::clear();
    });
    module.def("valid", &valid_mapping);
    module.def("profile", &profiled);
    module.def("loads", &loads);
    module.def("records", &reading);
    module.def("ordered", &ordered);
    module.def("needs", [](const Profile &producer, const Profile &consumer, const Edge &edge) {
        return array_of(needs(producer, consumer, edge));
    });
    module.def("settle", &settle);
}
