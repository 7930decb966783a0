// What status-backend's databases hold: one catalog with one control of one scope.
const points = [];
export const models = {
  Catalog: { findOne: async () => ({ id: 1, startDate: '2024-01-01', endDate: '2024-12-31' }) },
  Control: {
    findAll: async () => [
      { id: 1, name: 'Audit trail', description: 'd', period: 'DAILY', params: { endpoint: '/bpi', threshold: 100 } },
    ],
  },
  Scope: { findAll: async () => [{ name: 'project', description: 'p', type: 'string', default: '*' }] },
  Point: { findOne: async () => null, findAll: async () => points, bulkCreate: async (all) => all },
};
const found = { select: async () => [{ controlId: 1, scopes: new Map([['project', 'p']]) }] };
export default { find: () => found };
export const Op = { in: 'in' };
export const finalizeControlsByCatalogId = () => {};
