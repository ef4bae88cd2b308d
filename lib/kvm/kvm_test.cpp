// SPDX-License-Identifier: BSD-2-Clause
// What can be said without KVM; tests/host_kvm_test.py has the rest.
#include <cerrno>

#include <gmock/gmock.h>
#include <pvh/kvm/kvm.hpp>

namespace pvh::kvm {
namespace {

TEST(System, SaysThatTheDeviceIsMissing) {
  const auto system = System::open("/nonexistent/kvm");
  ASSERT_FALSE(system);
  EXPECT_EQ(system.error().code, KvmError::kNoDevice);
  EXPECT_EQ(system.error().sys_errno, ENOENT);
  EXPECT_THAT(base::to_text(system.error()), testing::AllOf(testing::HasSubstr("/nonexistent/kvm"),
                                                            testing::HasSubstr("kvm group")));
}

TEST(System, SaysThatAnotherDeviceIsNotKvm) {
  const auto system = System::open("/dev/null");
  ASSERT_FALSE(system);
  EXPECT_EQ(system.error().code, KvmError::kNoDevice);
  EXPECT_NE(system.error().sys_errno, 0);
}

TEST(Explain, HasWordsForEveryCode) {
  for (const auto code :
       {KvmError::kNoDevice, KvmError::kWrongApi, KvmError::kRefused, KvmError::kRunFailed}) {
    EXPECT_FALSE(explain(code).what.empty());
  }
}

}  // namespace
}  // namespace pvh::kvm
