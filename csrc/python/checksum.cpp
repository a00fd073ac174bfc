#include "topics.hpp"

#include <stdexcept>
#include <string>

#include "arrays.hpp"
#include "crc32c.hpp"

namespace fluorsr::python {
namespace {

// The bytes of a C-contiguous buffer, held for as long as this lives.
class Bytes {
public:
    explicit Bytes(const py::object& object) {
        if (PyObject_GetBuffer(object.ptr(), &buffer_, PyBUF_SIMPLE) != 0) {
            PyErr_Clear();
            throw std::invalid_argument("crc32c needs bytes or a C-contiguous array; this " +
                                        std::string(py::str(py::type::of(object).attr("__name__"))) +
                                        " is neither; try np.ascontiguousarray(...)");
        }
    }
    Bytes(const Bytes&) = delete;
    Bytes& operator=(const Bytes&) = delete;
    ~Bytes() { PyBuffer_Release(&buffer_); }

    const void* data() const { return buffer_.buf; }
    std::size_t size() const { return static_cast<std::size_t>(buffer_.len); }

private:
    Py_buffer buffer_{};
};

std::uint32_t checksum(const py::object& object, std::uint32_t value, bool portable) {
    if (py::isinstance<py::array>(object) && py::reinterpret_borrow<py::array>(object).dtype().kind() == 'O')
        throw std::invalid_argument(
            "crc32c of an array of Python objects would cover their addresses; convert it first");
    const Bytes bytes(object);
    const py::gil_scoped_release release;
    return portable ? crc32c_portable(bytes.data(), bytes.size(), value) : crc32c(bytes.data(), bytes.size(), value);
}

}  // namespace

void init_checksum(py::module_& m) {
    m.def("crc32c", &checksum, py::arg("data"), py::arg("value") = 0, py::kw_only(), py::arg("portable") = false,
          "CRC-32C of bytes or a C-contiguous array, continued from `value`.");
    m.def("crc32c_in_hardware", &crc32c_in_hardware, "True where crc32c uses the processor's own instruction.");
}

}  // namespace fluorsr::python
